/* destination-sqlite: rows into a SQLite database, exactly once. See sqlite.h. */
#include "connectors/destinations/sqlite/sqlite.h"

int main(int argc, char *argv[])
{
    return writer_main(argc, argv, &destination_sqlite);
}
