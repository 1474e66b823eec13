/* source-files: loads the data files of a folder, or drafts a pipeline from some of them. */
#include <string.h>

#include "connectors/sources/files/draft.h"
#include "connectors/sources/files/files.h"

int main(int argc, char *argv[])
{
    if (argc > 1 && strcmp(argv[1], "--draft") == 0)
        return draft_main(argc - 2, argv + 2);
    return worker_main(argc, argv, &source_files);
}
