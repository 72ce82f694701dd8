/* -netdev, -nic and -object filter-dump turned into networks on the host: QEMU's names and
 * settings.
 */
#include "machine/pc_net.h"

#include <stdio.h>
#include <string.h>

enum { DUMP_LONGEST = 65536 };

/* All values of a key that may come again. */
static bool values(KeyValues *kv, const char *key, const char **to, Err *err)
{
    unsigned n = 0;
    for (unsigned i = 0; i < kv->count; i++) {
        if (strcmp(kv->pair[i].key, key) == 0) {
            if (n == NET_MAX_FORWARDS) {
                return err_set(err, "-%s: more than %d of '%s'; leave some out", kv->option,
                               NET_MAX_FORWARDS, key);
            }
            kv->pair[i].used = true;
            to[n++] = kv->pair[i].value;
        }
    }
    return true;
}

static bool open_user(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err)
{
    bool ipv4 = true, ipv6 = true;
    NetUserSpec spec = {.net = value_find(kv, "net"),
                        .host = value_find(kv, "host"),
                        .dns = value_find(kv, "dns"),
                        .dhcpstart = value_find(kv, "dhcpstart"),
                        .hostname = value_find(kv, "hostname"),
                        .domainname = value_find(kv, "domainname"),
                        .tftp = value_find(kv, "tftp"),
                        .tftp_server_name = value_find(kv, "tftp-server-name"),
                        .bootfile = value_find(kv, "bootfile")};
    if (!value_switch(kv, "restrict", &spec.restricted, err) ||
        !value_switch(kv, "ipv4", &ipv4, err) || !value_switch(kv, "ipv6", &ipv6, err) ||
        !values(kv, "hostfwd", spec.hostfwd, err) || !values(kv, "guestfwd", spec.guestfwd, err) ||
        !values(kv, "dnssearch", spec.dnssearch, err)) {
        return false;
    }
    spec.no_ipv4 = !ipv4;
    spec.no_ipv6 = !ipv6;
    if (!ipv4 && !ipv6) {
        return err_set(err, "%s: ipv4 and ipv6 cannot both be off", option);
    }
    return net_host_user(host, id, option, &spec, err);
}

static bool open_socket(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err)
{
    const char *listen = value_find(kv, "listen"), *connect = value_find(kv, "connect"),
               *mcast = value_find(kv, "mcast"), *udp = value_find(kv, "udp"),
               *local = value_find(kv, "localaddr");
    if (!!listen + !!connect + !!mcast + !!udp != 1) {
        return err_set(err, "%s: write one of listen=, connect=, mcast= and udp=", option);
    }
    if (listen || connect) {
        NetStreamSpec spec = {.address = listen ? listen : connect, .server = listen != NULL};
        return net_host_stream(host, id, option, &spec, err);
    }
    if (udp && !local) {
        return err_set(err, "%s: udp= needs localaddr=HOST:PORT too", option);
    }
    char interface[128];
    NetDgramSpec spec = {.remote = udp ? udp : mcast, .local = local};
    if (mcast && local && !strchr(local, ':')) {
        snprintf(interface, sizeof(interface), "%.100s:0", local);
        spec.local = interface;
    }
    return net_host_dgram(host, id, option, &spec, err);
}

/* "PREFIX.type=inet,PREFIX.host=H,PREFIX.port=P" or "PREFIX.type=unix,PREFIX.path=F". False: none
 * of them is there, or err is set. */
static bool address_of(KeyValues *kv, const char *prefix, char *to, size_t room, const char *option,
                       Err *err)
{
    const char *value[4];
    static const char *const names[4] = {"type", "host", "port", "path"};
    for (unsigned i = 0; i < 4; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%s.%s", prefix, names[i]);
        value[i] = value_find(kv, key);
    }
    if (!value[0]) {
        return false;
    }
    int n;
    if (strcmp(value[0], "unix") == 0 && value[3]) {
        n = snprintf(to, room, "unix:%s", value[3]);
    } else if (strcmp(value[0], "inet") == 0 && value[1] && value[2]) {
        n = snprintf(to, room, "%s:%s", value[1], value[2]);
    } else {
        return err_set(err,
                       "%s: write %s.type=inet,%s.host=HOST,%s.port=PORT or "
                       "%s.type=unix,%s.path=FILE",
                       option, prefix, prefix, prefix, prefix, prefix);
    }
    return (size_t)n < room || err_set(err, "%s: %s is too long", option, prefix);
}

static bool open_dgram(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err)
{
    char local[300], remote[300];
    NetDgramSpec spec = {0};
    if (address_of(kv, "local", local, sizeof(local), option, err)) {
        spec.local = local;
    }
    if (address_of(kv, "remote", remote, sizeof(remote), option, err)) {
        spec.remote = remote;
    }
    return !err->text[0] && net_host_dgram(host, id, option, &spec, err);
}

static bool open_stream(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err)
{
    char address[300];
    static const char *const ignored[] = {"reconnect", "reconnect-ms", NULL};
    NetStreamSpec spec = {.address = address};
    value_ignore(kv, ignored);
    if (!value_switch(kv, "server", &spec.server, err)) {
        return false;
    }
    if (!address_of(kv, "addr", address, sizeof(address), option, err)) {
        return err_set(err, "%s: write addr.type=inet,addr.host=HOST,addr.port=PORT", option);
    }
    return net_host_stream(host, id, option, &spec, err);
}

static bool open_tap(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err)
{
    static const char *const scripts[] = {"script", "downscript"};
    uint32_t fd = UINT32_MAX;
    for (unsigned i = 0; i < 2; i++) {
        const char *script = value_find(kv, scripts[i]);
        if (script && script[0] && strcmp(script, "no") != 0) {
            return err_set(err, "%s: %s: set the interface up yourself and write %s=no", option,
                           scripts[i], scripts[i]);
        }
    }
    if (!value_number(kv, "fd", 0, 65535, &fd, err)) {
        return false;
    }
    NetTapSpec spec = {.ifname = value_find(kv, "ifname"), .fd = fd == UINT32_MAX ? -1 : (int)fd};
    return net_host_tap(host, id, option, &spec, err);
}

static const struct {
    const char *name;
    bool (*open)(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err);
    const char *settings;
} net_kinds[] = {
    {"user", open_user,
     "net, host, dhcpstart, dns, dnssearch, hostname, domainname, restrict, ipv4, ipv6, hostfwd, "
     "guestfwd, tftp, tftp-server-name, bootfile"},
    {"socket", open_socket, "listen, connect, mcast, udp, localaddr"},
    {"dgram", open_dgram,
     "local.type, local.host, local.port, local.path, remote.type, remote.host, remote.port, "
     "remote.path"},
    {"stream", open_stream, "server, addr.type, addr.host, addr.port, addr.path"},
    {"tap", open_tap, "ifname, fd, script, downscript"},
};

static int net_kind(const char *type)
{
    for (unsigned i = 0; type && i < sizeof(net_kinds) / sizeof(net_kinds[0]); i++) {
        if (strcmp(net_kinds[i].name, type) == 0) {
            return (int)i;
        }
    }
    return -1;
}

const char *pc_net_settings(const char *type)
{
    int kind = net_kind(type);
    return kind < 0 ? NULL : net_kinds[kind].settings;
}

bool pc_net_open(NetHost *host, KeyValues *kv, const char *id, const char *option, Err *err)
{
    int kind = net_kind(value_find(kv, "type"));
    if (kind >= 0) {
        return net_kinds[kind].open(host, kv, id, option, err);
    }
    return err_set(err,
                   "%s: there is no such network; there are user, socket, dgram, stream, tap%s",
                   option, strncmp(option, "-nic", 4) == 0 ? " and none" : "");
}

bool pc_net_netdev(NetHost *host, const char *text, Err *err)
{
    char option[200];
    KeyValues kv;
    snprintf(option, sizeof(option), "-netdev %.180s", text);
    bool ok = value_split(&kv, "netdev", text, "type", err);
    const char *id = ok ? value_find(&kv, "id") : NULL;
    if (ok && !id) {
        ok = err_set(err, "%s: it needs an id=", option);
    }
    ok = ok && pc_net_open(host, &kv, id, option, err) &&
         value_all_used(&kv, pc_net_settings(value_find(&kv, "type")), err);
    value_free(&kv);
    return ok;
}

bool pc_net_object(NetHost *host, const char *text, Err *err)
{
    char option[200];
    KeyValues kv;
    static const char *const ignored[] = {"id", NULL};
    uint32_t longest = DUMP_LONGEST;
    snprintf(option, sizeof(option), "-object %.180s", text);
    bool ok = value_split(&kv, "object", text, "type", err);
    const char *type = ok ? value_find(&kv, "type") : NULL;
    if (ok && (!type || strcmp(type, "filter-dump") != 0)) {
        ok = err_set(err, "%s: there is no such object; there is filter-dump", option);
    }
    if (ok) {
        const char *netdev = value_find(&kv, "netdev"), *file = value_find(&kv, "file");
        value_ignore(&kv, ignored);
        ok = value_number(&kv, "maxlen", 14, DUMP_LONGEST, &longest, err) &&
             ((netdev && file) || err_set(err, "%s: it needs netdev= and file=", option)) &&
             value_all_used(&kv, "id, netdev, file, maxlen", err) &&
             net_host_dump(host, netdev, option, file, longest, err);
    }
    value_free(&kv);
    return ok;
}
