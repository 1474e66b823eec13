/* source-exec: runs a program that prints operations, one JSON object a line. */
#include "connectors/sources/exec/exec.h"

int main(int argc, char *argv[])
{
    return worker_main(argc, argv, &source_exec);
}
