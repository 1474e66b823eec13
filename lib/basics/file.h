#pragma once
/* Writing that is whole, and on disk. */
#include <stddef.h>

/* All of DATA, however much of it a single write() takes; -1 with errno. For descriptors that block. */
int file_write_all(int fd, const void *data, size_t n);
/* Makes durable that PATH is in its folder, or no more; -1 with errno. A file system that cannot is no error. */
int file_sync_folder_of(const char *path);
