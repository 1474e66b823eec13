/* source-files: loads the data files of a folder. */
#include "connectors/sources/files/files.h"

int main(int argc, char *argv[])
{
    return worker_main(argc, argv, &source_files);
}
