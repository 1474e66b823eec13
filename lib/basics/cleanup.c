/* The one destructor that cleanup.h cannot define inline: closing must not disturb the errno that a caller is about to
 * read. */
#include "lib/basics/cleanup.h"

#include <errno.h>

int close_fd(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        /* Linux releases the descriptor even when close() is interrupted (close(2)): never retry. */
        (void)close(fd);
        errno = saved;
    }
    return -1;
}
