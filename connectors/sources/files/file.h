#pragma once
/*
 * One data file and the proof that it stood still: its bytes as they lie, hashed as they are read, and what told it
 * apart (inode, size, modification time) before.
 */
#include <stdint.h>
#include <sys/stat.h>

#include "connectors/sources/files/input.h"
#include "lib/basics/hash.h"

typedef struct DataFile {
    int fd;              /* owned */
    const char *name;    /* not owned */
    uint64_t size;       /* when it was opened */
    uint64_t read;       /* bytes of this pass */
    Sha256 *sha256;      /* not owned */
    bool at_random;      /* not read in order: that its change time stayed tells that the bytes in between did */
    const uint8_t *salt; /* not owned; SHA256_SIZE bytes that are hashed before the content; NULL: none */
    struct stat before;
    /* Called after each block; negative ends the read. */
    int (*progress)(void *context, uint64_t bytes, Error *error);
    void *context;
} DataFile;

/* Takes FD. */
int data_file_open(DataFile *ret, int fd, const char *name, Sha256 *sha256, Error *error);
void data_file_close(DataFile *file);
/* From the first byte again, with a new hash. Also after `salt` was set. */
int data_file_rewind(DataFile *file, Error *error);
ByteStream data_file_stream(DataFile *file);
/* Reads what is left, for its hash alone. */
int data_file_drain(DataFile *file, Error *error);
void data_file_hash(DataFile *file, uint8_t ret[static SHA256_SIZE]);
/* ERROR_CHANGED if the file is not what it was when it was opened. */
int data_file_unchanged(const DataFile *file, Error *error);
