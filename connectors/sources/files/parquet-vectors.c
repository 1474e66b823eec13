/*
 * What a column of DuckDB's is made of, down to the parts of what is nested: described once per file, and bound to the
 * vectors of each chunk, which are read where they lie.
 */
#include "connectors/sources/files/parquet-internal.h"

#define NESTING_MAX 64

void parquet_vectors_free(ParquetVector *vectors, size_t count)
{
    for (size_t i = 0; vectors && i < count; i++) {
        parquet_vectors_free(vectors[i].children, vectors[i].child_count);
        free(vectors[i].name);
    }
    free(vectors);
}

static ParquetVector *add_children(ParquetVector *vector, size_t count)
{
    vector->children = xcalloc(count, sizeof(*vector->children));
    vector->child_count = count;
    return vector->children;
}

static const uint8_t shapes[] = {
    [DUCKDB_TYPE_BOOLEAN] = SHAPE_BOOLEAN,
    [DUCKDB_TYPE_TINYINT] = SHAPE_INTEGER,
    [DUCKDB_TYPE_SMALLINT] = SHAPE_INTEGER,
    [DUCKDB_TYPE_INTEGER] = SHAPE_INTEGER,
    [DUCKDB_TYPE_BIGINT] = SHAPE_INTEGER,
    [DUCKDB_TYPE_UTINYINT] = SHAPE_INTEGER,
    [DUCKDB_TYPE_USMALLINT] = SHAPE_INTEGER,
    [DUCKDB_TYPE_UINTEGER] = SHAPE_INTEGER,
    [DUCKDB_TYPE_UBIGINT] = SHAPE_NUMBER,
    [DUCKDB_TYPE_HUGEINT] = SHAPE_NUMBER,
    [DUCKDB_TYPE_UHUGEINT] = SHAPE_NUMBER,
    [DUCKDB_TYPE_DECIMAL] = SHAPE_NUMBER,
    [DUCKDB_TYPE_FLOAT] = SHAPE_SINGLE,
    [DUCKDB_TYPE_DOUBLE] = SHAPE_DOUBLE,
    [DUCKDB_TYPE_DATE] = SHAPE_DATE,
    [DUCKDB_TYPE_TIMESTAMP] = SHAPE_TIMESTAMP,
    [DUCKDB_TYPE_TIMESTAMP_S] = SHAPE_TIMESTAMP,
    [DUCKDB_TYPE_TIMESTAMP_MS] = SHAPE_TIMESTAMP,
    [DUCKDB_TYPE_TIMESTAMP_NS] = SHAPE_TIMESTAMP,
    [DUCKDB_TYPE_TIMESTAMP_TZ] = SHAPE_TIMESTAMP,
    [DUCKDB_TYPE_VARCHAR] = SHAPE_TEXT,
    [DUCKDB_TYPE_BLOB] = SHAPE_BYTES,
    [DUCKDB_TYPE_LIST] = SHAPE_LIST,
    [DUCKDB_TYPE_ARRAY] = SHAPE_ARRAY,
    [DUCKDB_TYPE_MAP] = SHAPE_MAP,
    [DUCKDB_TYPE_STRUCT] = SHAPE_STRUCT,
};

static int64_t ticks_per_second(duckdb_type type)
{
    switch (type) {
    case DUCKDB_TYPE_TIMESTAMP_S:
        return 1;
    case DUCKDB_TYPE_TIMESTAMP_MS:
        return 1000;
    case DUCKDB_TYPE_TIMESTAMP_NS:
        return 1000000000;
    default:
        return 1000000;
    }
}

static const char *describe_child(const DuckdbLibrary *duckdb, duckdb_logical_type type, unsigned depth,
                                  ParquetVector *ret)
{
    const char *why = parquet_vector_describe(duckdb, type, depth + 1, ret);
    duckdb->destroy_logical_type(&type);
    return why;
}

static const char *describe_struct(const DuckdbLibrary *duckdb, duckdb_logical_type type, unsigned depth,
                                   ParquetVector *ret)
{
    idx_t count = duckdb->struct_type_child_count(type);
    ParquetVector *children = add_children(ret, count);
    const char *why = NULL;
    for (idx_t i = 0; i < count && !why; i++) {
        char *name = duckdb->struct_type_child_name(type, i);
        children[i].name = xstrdup(name);
        duckdb->free(name);
        why = describe_child(duckdb, duckdb->struct_type_child_type(type, i), depth, &children[i]);
    }
    return why;
}

const char *parquet_vector_describe(const DuckdbLibrary *duckdb, duckdb_logical_type type, unsigned depth,
                                    ParquetVector *ret)
{
    const char *why;
    duckdb_type id = ret->stored = duckdb->get_type_id(type);
    ret->shape = (size_t)id < ELEMENTSOF(shapes) ? shapes[id] : SHAPE_OTHER;
    if (depth > NESTING_MAX)
        return "nested too deeply";
    switch (ret->shape) {
    case SHAPE_NUMBER:
        if (id == DUCKDB_TYPE_DECIMAL) {
            ret->stored = duckdb->decimal_internal_type(type);
            ret->scale = duckdb->decimal_scale(type);
        }
        return NULL;
    case SHAPE_TIMESTAMP:
        ret->per_second = ticks_per_second(id);
        ret->offset = id == DUCKDB_TYPE_TIMESTAMP_TZ ? 0 : TIMESTAMP_NAIVE;
        return NULL;
    case SHAPE_LIST:
        return describe_child(duckdb, duckdb->list_type_child_type(type), depth, add_children(ret, 1));
    case SHAPE_ARRAY:
        ret->array_size = duckdb->array_type_array_size(type);
        return describe_child(duckdb, duckdb->array_type_child_type(type), depth, add_children(ret, 1));
    case SHAPE_STRUCT:
        return describe_struct(duckdb, type, depth, ret);
    case SHAPE_MAP: {
        ParquetVector *pair = add_children(ret, 1);
        pair->shape = SHAPE_STRUCT;
        add_children(pair, 2);
        why = describe_child(duckdb, duckdb->map_type_key_type(type), depth, &pair->children[0]);
        return why ? why : describe_child(duckdb, duckdb->map_type_value_type(type), depth, &pair->children[1]);
    }
    case SHAPE_OTHER:
        return depth > 0 ? "nested, of a type that cannot be read" : NULL;
    default:
        return NULL;
    }
}

void parquet_bind(const DuckdbLibrary *duckdb, ParquetVector *vector, duckdb_vector from)
{
    vector->data = duckdb->vector_get_data(from);
    vector->validity = duckdb->vector_get_validity(from);
    if (vector->shape == SHAPE_LIST || vector->shape == SHAPE_MAP)
        parquet_bind(duckdb, &vector->children[0], duckdb->list_vector_get_child(from));
    else if (vector->shape == SHAPE_ARRAY)
        parquet_bind(duckdb, &vector->children[0], duckdb->array_vector_get_child(from));
    for (size_t i = 0; vector->shape == SHAPE_STRUCT && i < vector->child_count; i++)
        parquet_bind(duckdb, &vector->children[i], duckdb->struct_vector_get_child(from, i));
}
