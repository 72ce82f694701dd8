/* `vitrine image`: the words of its command line. Verbs, options and exit status are qemu-img's
 * where it has them (its manual page), except that no file is overwritten without --force.
 */
#include "machine/image_command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/image_internal.h"

typedef struct Verb {
    const char *name, *letters; /* as getopt takes them */
    unsigned least, most;       /* names */
    int failed;                 /* exit status for wrong words */
    int (*run)(ImageArgs *a);
    const char *usage, *help;
} Verb;

/* clang-format off */
static const Verb verbs[] = {
    {"create", "f:o:b:F:uq", 1, 2, 1, image_create,
     "[-f FORMAT] [-o OPTIONS] [-b BACKING [-F FORMAT]] FILE [SIZE]", "makes an empty image"},
    {"info", "f:U", 1, 1, 1, image_info, "[-f FORMAT] [--backing-chain] FILE", "tells what an image is"},
    {"convert", "f:O:o:b:B:F:l:S:m:t:T:cCnpqUW", 2, IMAGE_MAX_NAMES, 1, image_convert,
     "[-c] [-n] [-f FORMAT] [-O FORMAT] [-o OPTIONS] [-b BACKING [-F FORMAT]] [-l SNAPSHOT] [-S SIZE] FILE... NEW", "copies an image, or several one behind the other, into another format"},
    {"check", "f:r:T:qU", 1, 1, 1, image_check, "[-f FORMAT] [-r leaks|all] FILE",
     "looks for damage: 0 none, 2 damaged, 3 room is lost"},
    {"repair", "f:q", 1, 1, 1, image_repair, "[-f FORMAT] FILE", "mends what check finds"},
    {"resize", "f:q", 2, 2, 1, image_resize, "[-f FORMAT] [--shrink] FILE [+|-]SIZE", "changes the size of the disk"},
    {"snapshot", "f:lc:a:d:qU", 1, 1, 1, image_snapshot, "[-l | -c NAME | -a NAME | -d NAME] FILE",
     "lists, makes, applies or deletes snapshots inside an image"},
    {"rebase", "f:b:B:F:t:T:upq", 1, 1, 1, image_rebase, "[-f FORMAT] [-u] -b BACKING [-F FORMAT] FILE",
     "lays an image above another one, or above none: -b ''"},
    {"amend", "f:o:t:pq", 1, 1, 1, image_amend, "[-f FORMAT] -o OPTIONS FILE",
     "changes options of an image in place (qcow2, vmdk)"},
    {"commit", "f:b:t:dpq", 1, 1, 1, image_commit, "[-f FORMAT] [-b BELOW] [-d] FILE",
     "writes an image's changes to the one below it, or to one further below; it keeps them, too"},
    {"compare", "f:F:T:spqU", 2, 2, 2, image_compare, "[-f FORMAT] [-F FORMAT] [-s] FILE FILE",
     "compares what the guest sees: 0 equal, 1 not"},
    {"map", "f:U", 1, 1, 1, image_map, "[-f FORMAT] [--start-offset SIZE] [--max-length SIZE] FILE", "lists where there is data"},
    {"measure", "f:O:o:l:U", 0, 1, 1, image_measure, "[-f FORMAT] [-O FORMAT] [-o OPTIONS] [--size SIZE | [-l SNAPSHOT] FILE]",
     "tells how much room an image will take (raw, qcow2)"},
    {"dd", "f:O:o:U", 2, 5, 1, image_dd, "[-f FORMAT] [-O FORMAT] [-o OPTIONS] [bs=SIZE] [count=N] [skip=N] if=FILE of=NEW",
     "copies a part of an image"},
};
/* clang-format on */
enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static void usage(FILE *to)
{
    fputs("usage: vitrine image COMMAND [options] FILE...\n\n", to);
    for (unsigned i = 0; i < VERBS; i++) {
        fprintf(to, "  %-9s %s\n            %s\n", verbs[i].name, verbs[i].usage, verbs[i].help);
    }
    fputs(
        "\n  --force         replaces a file that is there already (create, convert)\n"
        "  --output json   prints the result as JSON (info, check, map, measure, snapshot -l)\n"
        "  --backing any   files that an image builds on may lie outside its folder\n"
        "  -f, -O          raw, qcow2, vmdk, vdi, vhd (vpc), imd; read also: cue, td0, fat:FOLDER\n"
        "  -o              qcow2: cluster_size=, compat=0.10|1.1, refcount_bits=, "
        "lazy_refcounts=on,\n"
        "                  compression_type=zlib|zstd, backing_file=, backing_fmt=,\n"
        "                  preallocation=off|metadata|falloc|full; raw: preallocation=\n"
        "                  vmdk: subformat=monolithicSparse|monolithicFlat|twoGbMaxExtentSparse|\n"
        "                  twoGbMaxExtentFlat|streamOptimized, adapter_type=, hwversion=, "
        "zeroed_grain=on\n"
        "                  vdi: static=on, block_size=; vhd: subformat=dynamic|fixed, "
        "force_size=off,\n"
        "                  block_size=, backing_file=\n"
        "  -o (amend)      qcow2: compat=, lazy_refcounts=, refcount_bits=\n"
        "                  vmdk: adapter_type=, hwversion=, zeroed_grain=, backing_file=\n"
        "  -c              compresses (qcow2; streamOptimized always)\n"
        "  -n              writes into an image that is there\n"
        "  -l              the disk as a snapshot inside FILE keeps it\n"
        "  --salvage       convert goes on where the image cannot be read; that is zeros in the "
        "copy\n"
        "  -S              stretches of zeros from this size on take no room; 0: all is written\n"
        "  -p, -q          shows how far it is; says nothing\n"
        "  -U              also while another program has the image open (read only)\n"
        "Sizes are bytes, or take K, M, G, T, P or E.\n",
        to);
}

static const struct option long_options[] = {
    {"force", no_argument, NULL, IMAGE_OPTION_FORCE},
    {"output", required_argument, NULL, IMAGE_OPTION_OUTPUT},
    {"backing", required_argument, NULL, IMAGE_OPTION_BACKING},
    {"shrink", no_argument, NULL, IMAGE_OPTION_SHRINK},
    {"size", required_argument, NULL, IMAGE_OPTION_SIZE},
    {"backing-chain", no_argument, NULL, IMAGE_OPTION_CHAIN},
    {"salvage", no_argument, NULL, IMAGE_OPTION_SALVAGE},
    {"start-offset", required_argument, NULL, IMAGE_OPTION_START},
    {"max-length", required_argument, NULL, IMAGE_OPTION_LENGTH},
    {"help", no_argument, NULL, 'h'},
    {"force-share", no_argument, NULL, 'U'},
    {0},
};

static bool check_values(ImageArgs *a)
{
    const char *output = a->option[IMAGE_OPTION_OUTPUT];
    const char *backing = a->option[IMAGE_OPTION_BACKING];
    if (output && strcmp(output, "json") != 0 && strcmp(output, "human") != 0) {
        return err_set(&a->err, "--output %s: use json or human", output);
    }
    if (backing && strcmp(backing, "any") != 0) {
        return err_set(&a->err, "--backing %s: use --backing any, or leave it out", backing);
    }
    a->json = output && strcmp(output, "json") == 0;
    a->progress = !a->option['q'] && (a->option['p'] || isatty(STDERR_FILENO));
    return true;
}

/* Several -o are one list. */
static bool more_words(ImageArgs *a, const char *text)
{
    size_t length = strlen(a->words);
    int more =
        snprintf(a->words + length, sizeof(a->words) - length, "%s%s", length ? "," : "", text);
    return (size_t)more < sizeof(a->words) - length || err_set(&a->err, "-o: too many settings");
}

static bool take_options(ImageArgs *a, const Verb *verb, int argc, char **argv)
{
    char letters[48];
    int letter;
    snprintf(letters, sizeof(letters), ":h%s", verb->letters);
    optind = 0;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
        if (letter == ':') {
            return err_set(&a->err, "%s needs a value; see 'vitrine image --help'",
                           argv[optind - 1]);
        }
        if (letter == '?') {
            return err_set(&a->err, "'image %s' has no option %s; see 'vitrine image --help'",
                           verb->name, argv[optind - 1]);
        }
        if (letter == 'o' && !more_words(a, optarg)) {
            return false;
        }
        a->option[letter] = letter == 'o' ? a->words : optarg ? optarg : "";
        optarg = NULL;
    }
    for (; optind < argc; optind++) {
        if (a->names == IMAGE_MAX_NAMES) {
            return err_set(&a->err, "too many names; see 'vitrine image --help'");
        }
        a->name[a->names++] = argv[optind];
    }
    return true;
}

static int run(const Verb *verb, int argc, char **argv)
{
    ImageArgs a = {.verb = verb->name, .grain = 4096};
    /* the last word of resize may begin with a minus */
    const char *size = verb->run == image_resize && argc > 2 ? argv[argc - 1] : NULL;
    bool wants_size = size && size[0] == '-' && size[1] >= '0' && size[1] <= '9';
    bool good = take_options(&a, verb, argc - wants_size, argv);
    if (good && a.option['h']) {
        usage(stdout);
        return 0;
    }
    if (good && wants_size && a.names < IMAGE_MAX_NAMES) {
        a.name[a.names++] = size;
    }
    if (good && (a.names < verb->least || a.names > verb->most)) {
        good = err_set(&a.err, "usage: vitrine image %s %s", verb->name, verb->usage);
    }
    int status = good && check_values(&a) ? verb->run(&a) : verb->failed;
    if (a.err.text[0]) {
        fprintf(stderr, "vitrine: %s\n", a.err.text);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "vitrine: the result cannot be written\n");
        status = status ? status : verb->failed;
    }
    return status;
}

int image_command(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    for (unsigned i = 0; i < VERBS; i++) {
        if (strcmp(argv[1], verbs[i].name) == 0) {
            return run(&verbs[i], argc - 1, argv + 1);
        }
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    fprintf(stderr, "vitrine: there is no command 'image %s'; see 'vitrine image --help'\n",
            argv[1]);
    return 1;
}
