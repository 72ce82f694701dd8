/* A printer at the end of a parallel port: a thread that reads what the machine sends from a pipe,
 * and prints.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/host/char_host_internal.h"
#include "machine/host/host_thread.h"
#include "machine/host/printer.h"

struct CharPrinter {
    Printer *printer;
    pthread_t thread;
    int read_fd;
};

static void *print(void *self)
{
    CharPrinter *p = self;
    uint8_t data[4096];
    ssize_t n;
    while ((n = read(p->read_fd, data, sizeof(data))) > 0 || (n < 0 && errno == EINTR)) {
        printer_write(p->printer, data, n > 0 ? (size_t)n : 0);
    }
    return NULL;
}

bool char_open_printer(CharBackend *b, const char *option, const char *spec, Err *err)
{
    char path[1024];
    PrinterConfig config;
    Err failed = {""};
    int fds[2];
    CharPrinter *p = calloc(1, sizeof(*p));
    if (!p || !printer_parse(spec, &config, path, sizeof(path), &failed) ||
        !(p->printer = printer_new(&config, &failed))) {
        free(p);
        return err_set(err, "-%s pdf: %s", option, failed.text);
    }
    if (pipe2(fds, O_CLOEXEC) != 0) {
        printer_free(p->printer);
        free(p);
        return err_set(err, "-%s: no pipe to the printer: %s", option, strerror(errno));
    }
    p->read_fd = fds[0];
    int problem = host_thread_start(&p->thread, print, p);
    if (problem) {
        close(fds[0]);
        close(fds[1]);
        printer_free(p->printer);
        free(p);
        return err_set(err, "-%s: no thread for the printer", option);
    }
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    b->write_fd = fds[1];
    b->printer = p;
    return true;
}

void char_close_printer(CharPrinter *p)
{
    if (p) {
        pthread_join(p->thread, NULL);
        close(p->read_fd);
        printer_free(p->printer);
        free(p);
    }
}
