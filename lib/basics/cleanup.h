#pragma once
/*
 * Scope-bound ownership.
 *
 * A variable declared `_cleanup_(foo_freep)` gives up what it owns when its scope ends, whichever way it ends.
 * Destructors take NULL and return NULL, so that `foo = foo_free(foo)` leaves no dangling name behind. `take_ptr()` and
 * `take_fd()` hand the value on to the caller and disarm the cleanup.
 */
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))
#define _public_printf_(string, first) __attribute__((format(printf, string, first)))

/* For a destructor `void *foo_free(Foo *)`: defines foo_freep() for use with _cleanup_. */
#define DEFINE_CLEANUP(type, function)             \
    static inline void function##p(type **pointer) \
    {                                              \
        if (*pointer)                              \
            function(*pointer);                    \
    }

#define take_ptr(pointer)                        \
    ({                                           \
        __typeof__(pointer) _taken_ = (pointer); \
        (pointer) = NULL;                        \
        _taken_;                                 \
    })

static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static inline void freep(void *pointer)
{
    free(*(void **)pointer);
}

/* Closes FD if it is one; always returns -1, for `fd = close_fd(fd)`. Keeps errno. */
int close_fd(int fd);

static inline void close_fdp(int *fd)
{
    if (*fd >= 0)
        close_fd(*fd);
}

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
