/* source-fivetran: runs the connector.py of a project, unmodified. */
#include "connectors/sources/fivetran/fivetran.h"

int main(int argc, char *argv[])
{
    return worker_main(argc, argv, &source_fivetran);
}
