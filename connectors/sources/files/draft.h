#pragma once
/*
 * `source-files --draft PATH…`, which `wherryctl draft` executes: looks at the beginning of data files, and prints the
 * pipeline file that would load them. The files are open already, as descriptors DRAFT_FD_FIRST and on, one per PATH;
 * paths (absolute) only give names. Runs in a sandbox without any path but those of Parquet files, which are opened
 * anew by their descriptors.
 */
#include "connectors/sources/files/draft-column.h"
#include "connectors/sources/files/file.h"
#include "connectors/sources/files/input.h"
#include "connectors/sources/files/settings.h"

#define DRAFT_FD_FIRST 3
#define DRAFT_FILES_MAX 16
#define DRAFT_ROWS_MAX 10000        /* of a file that are looked at */
#define DRAFT_BYTES_MAX (16u << 20) /* and of its text, unpacked */
#define DRAFT_COLUMNS_MAX 4096

typedef struct Draft {
    char **paths; /* not owned */
    size_t path_count;
    FileFormat format;
    const char *encoding; /* NULL: UTF-8 */
    bool encoding_guessed;
    char delimiter, quote;
    bool header;
    bool header_unsure;
    DraftColumn *columns; /* owned */
    size_t column_count;
    uint64_t rows;     /* looked at, of all files */
    bool whole;        /* they are all there are */
    uint64_t long_row; /* the first row that is longer than the header; 0: none */
    Inferrer inferrer;
    JsonMemory json;
} Draft;

int draft_main(int argc, char *argv[]);

/* --- draft-write.c --- */
/* Why a pipeline cannot have this column; NULL: it can. */
const char *draft_column_left_out(const DraftColumn *column);
char *draft_write(Draft *draft); /* the pipeline file; the caller frees */

/* --- draft-parquet.c --- */
struct Parquet;
/* FILE's columns to those of the draft. */
int draft_parquet_read(Draft *draft, struct Parquet *parquet, DataFile *file, Error *error);

/* --- draft-csv.c --- */
/* Delimiter, quote and header from the first N bytes of a file's text; WHOLE: there are no more. */
void draft_csv_detect(Draft *draft, const char *text, size_t n, bool whole);
/* Rows of INPUT to the columns, while MORE says so. */
int draft_csv_read(Draft *draft, TextInput *input, bool (*more)(const Draft *draft, void *context), void *context,
                   Error *error);
/* The column called NAME, new if need be; NULL: too many. */
DraftColumn *draft_column(Draft *draft, const char *name, size_t n);
