/* FFmpeg's libraries, found at run time. */
#include "ui/av_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static bool load(const char *name, int version, void **library, Err *err)
{
    char file[64];
    snprintf(file, sizeof(file), "lib%s.so.%d", name, version);
    *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
    return *library ||
           err_set(err, "recording needs the library %s, which is not here: %s", file, dlerror());
}

static bool find(void *library, const char *name, void *function, Err *err)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof(found)); /* C has no other way from a void * to a function */
    return found || err_set(err, "recording: the library has no %s", name);
}

bool av_library_open(AvLibrary *av, Err *err)
{
    void *avcodec, *avformat, *avutil, *swscale;
    bool ok = load("avutil", LIBAVUTIL_VERSION_MAJOR, &avutil, err) &&
              load("avcodec", LIBAVCODEC_VERSION_MAJOR, &avcodec, err) &&
              load("avformat", LIBAVFORMAT_VERSION_MAJOR, &avformat, err) &&
              load("swscale", LIBSWSCALE_VERSION_MAJOR, &swscale, err);
#define AV_FIND(library, function) ok = ok && find(library, #function, (void *)&av->function, err);
    AV_FUNCTIONS(AV_FIND)
#undef AV_FIND
    return ok;
}
