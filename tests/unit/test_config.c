/*
 * What a person is told who wrote something wrong into a pipeline file: every text, with its place. One case is one
 * file and all that is said of it.
 */
#include "tests/unit/config-files.h"

/* what a file hears that stands alone */
#define LEND "name the folder with \"wherryctl run FILE --dir DIR\", or "

typedef struct Case {
    const char *file;
    const char *said; /* "@" for the folder */
} Case;

static const Case keys_cases[] = {
    { ALL "colums: 1\n", "orders.yaml:7:1: unknown key \"colums\"; did you mean \"columns\"?" },
    { ALL "zzz: 1\n",
      "orders.yaml:7:1: unknown key \"zzz\"; here may stand source, destination, connector, frequency, "
      "paused, max_value_size, stall_timeout, commit_interval, log_level, sandbox, log_table, on_schema_change, "
      "file_pattern, "
      "format, csv, encoding, dest_table, write_mode, columns, retry_cap, source_manifest, quarantine or "
      "cdc" },
    { ALL "frequency: 1h\n", "orders.yaml:7:1: duplicate key \"frequency\"; it stands in line 1 already" },
    { ALL "connector: {type: sqlite, path: y.db}\n",
      "orders.yaml:7:1: \"connector\" and \"destination\" mean the same; keep one" },
    { ALL
      "cdc: {keys: [a], operation_column: op, sequence_by: a, operations: {insert: [c], update: [u], delete: [d]}}\n",
      "orders.yaml:7:6: \"cdc\" belongs to \"write_mode: cdc\"" },
    { ALL "excel: {sheet: 0}\n", "orders.yaml:7:1: \"excel\" is not supported yet; save the sheet as CSV" },
    { ALL "naming: x\n", "orders.yaml:7:1: \"naming\" is not supported yet; leave it out: names are kept as they are" },
    { ALL "history: x\n",
      "orders.yaml:7:1: \"history\" is not supported yet; leave it out: tables of files keep no versions of a row" },
    { ALL "on_schema_change: x\n",
      "orders.yaml:7:19: \"on_schema_change\" must be allow_all, allow_columns or block_all, not \"x\"" },
    { ALL "log_table: x\n", "orders.yaml:7:12: \"log_table\" must be true or false, not \"x\"" },
    { FREQUENCY FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:1:1: missing key \"source\"; " LEND "add these two lines, with "
      "the folder to read:\nsource:\n  {type: files, dir: /srv/incoming}" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS,
      "orders.yaml:1:1: missing key \"destination\": where rows go, such as {type: sqlite, path: data.db}" },
    { FREQUENCY SOURCE TABLE COLUMNS DESTINATION, "orders.yaml:1:1: missing key \"format\"" },
    { FREQUENCY SOURCE FORMAT COLUMNS DESTINATION, "orders.yaml:1:1: missing key \"dest_table\"" },
    { FREQUENCY SOURCE FORMAT TABLE DESTINATION, "orders.yaml:1:1: missing key \"columns\"" },
    { FREQUENCY SOURCE TABLE COLUMNS DESTINATION "formt: csv\n",
      "orders.yaml:6:1: unknown key \"formt\"; did you mean \"format\"?" },
    { FREQUENCY "source: {type: files, dir: in, file_pattern: \"*\"}\n" FORMAT TABLE COLUMNS DESTINATION
                "file_pattern: \"*.csv\"\n",
      "orders.yaml:7:15: \"file_pattern\" stands in \"source\" too; keep one" },
    { FREQUENCY "source: {dir: in}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:9: \"source\" needs a type, such as \"type: files\"" },
    { FREQUENCY "source: {type: fils, dir: in}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:16: unknown source type \"fils\"; did you mean \"files\"?" },
    { FREQUENCY "source: {type: zzzzz, dir: in}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:16: unknown source type \"zzzzz\"; there is \"files\"" },
    { FREQUENCY "source: files\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:9: \"source\" must be a map with a type, such as {type: files, …}" },
    { FREQUENCY "source: {type: [files], dir: in}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:16: \"source\" needs a type, such as \"type: files\"" },
    { FREQUENCY "source: {type: files}\n" FORMAT TABLE COLUMNS DESTINATION, "orders.yaml:2:9: missing key \"dir\"" },
    { FREQUENCY "source: {type: files, dir: in, wach: true}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:32: unknown key \"wach\"; did you mean \"watch\"?" },
    { FREQUENCY "source: {type: files, dir: in, zzzzz: true}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:32: unknown key \"zzzzz\"; here may stand type, dir, file_pattern, watch or duckdb_library" },
    { FREQUENCY "source: {type: influxdb, url: p}\n" DESTINATION,
      "orders.yaml:2:16: source type \"influxdb\" is not supported yet" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: bigquery, project: x}\n",
      "orders.yaml:6:21: destination type \"bigquery\" is not supported yet" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres, url: x}\n",
      "orders.yaml:6:36: the url of a postgres destination is postgresql://USER@HOST:PORT/DATABASE or \"host=… "
      "dbname=…\"" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlit, path: x}\n",
      "orders.yaml:6:21: unknown destination type \"sqlit\"; did you mean \"sqlite\"?" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {path: x}\n",
      "orders.yaml:6:14: \"destination\" needs a type, such as \"type: sqlite\"" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: warehouse\n",
      "orders.yaml:6:14: wherry.yaml has no destination \"warehouse\"; add it under \"destinations\", or write {type: "
      "sqlite, …} here" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: [x]\n",
      "orders.yaml:6:14: \"destination\" must be a map with a type, such as {type: sqlite, …}" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: \n",
      "orders.yaml:6:1: \"destination\" must be a map with a type, such as {type: sqlite, …}" },
};

static const Case types_cases[] = {
    { "frequency: 15min\n" SOURCE FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:1:12: \"frequency\" must be a duration of at least 1s, such as 15m, 6h or 1d, or manual, not "
      "\"15min\"" },
    { "frequency: 0s\n" SOURCE FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:1:12: \"frequency\" must be a duration of at least 1s, such as 15m, 6h or 1d, or manual, not "
      "\"0s\"" },
    { "frequency: [1h]\n" SOURCE FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:1:12: \"frequency\" must be a single value, not a list" },
    { "frequency: !env X\n" SOURCE FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:1:12: \"frequency\" cannot be a secret reference; write its value" },
    { ALL "paused: maybe\n", "orders.yaml:7:9: \"paused\" must be true or false, not \"maybe\"" },
    { ALL "paused: \"yes\"\n", "orders.yaml:7:9: \"paused\" must be true or false, not the text \"yes\"" },
    { ALL "max_value_size: 1T\n",
      "orders.yaml:7:17: \"max_value_size\" must be a size from 1K to 512M, such as 64M, not \"1T\"" },
    { ALL "max_value_size: 1\n",
      "orders.yaml:7:17: \"max_value_size\" must be a size from 1K to 512M, such as 64M, not \"1\"" },
    { ALL "max_value_size: 1G\n",
      "orders.yaml:7:17: \"max_value_size\" must be a size from 1K to 512M, such as 64M, not \"1G\"" },
    { ALL "stall_timeout: 0s\n", "orders.yaml:7:16: \"stall_timeout\" must be a duration of at least 1s, such as 30s, "
                                 "15m or 6h, or off, not \"0s\"" },
    { ALL "stall_timeout: 5 min\n", "orders.yaml:7:16: \"stall_timeout\" must be a duration of at least 1s, such as "
                                    "30s, 15m or 6h, or off, not \"5 min\"" },
    { ALL "commit_interval: 2d\n", "orders.yaml:7:18: \"commit_interval\" must be a duration of at most 1d, such as "
                                   "30s, 15m or 6h, or 0, not \"2d\"" },
    { ALL "log_level: warn\n",
      "orders.yaml:7:12: \"log_level\" must be debug, info, notice, warning or error, not \"warn\"" },
    { ALL "log_level: inf\n", "orders.yaml:7:12: \"log_level\" must be debug, info, notice, warning or error, not "
                              "\"inf\"; did you mean \"info\"?" },
    { ALL "sandbox: strickt\n",
      "orders.yaml:7:10: \"sandbox\" must be default or strict, not \"strickt\"; did you mean \"strict\"?" },
    { ALL "sandbox: [x]\n", "orders.yaml:7:10: \"sandbox\" must be default or strict, or a map, not a list" },
    { ALL "sandbox: {mode: none}\n", "orders.yaml:7:17: \"mode\" must be default or strict, not \"none\"" },
    { ALL "sandbox: {memory: 1M}\n",
      "orders.yaml:7:19: \"memory\" must be a size from 16M to 1024G, such as 64M, not \"1M\"" },
    { ALL "sandbox: {ports: 443}\n", "orders.yaml:7:18: \"ports\" must be a list, not \"443\"" },
    { ALL "sandbox: {ports: [0, x, 443]}\n",
      "orders.yaml:7:19: \"ports\" must be a whole number from 1 to 65535, not \"0\"\norders.yaml:7:22: \"ports\" must "
      "be a whole number from 1 to 65535, not \"x\"" },
    { ALL "sandbox: {port: [443]}\n", "orders.yaml:7:11: unknown key \"port\"; did you mean \"ports\"?" },
    { ALL "retry_cap: 0\n", "orders.yaml:7:12: \"retry_cap\" must be a whole number from 1 to 1000000, not \"0\"" },
    { ALL "retry_cap: -1\n", "orders.yaml:7:12: \"retry_cap\" must be a whole number from 1 to 1000000, not \"-1\"" },
    { ALL "retry_cap: \"3\"\n",
      "orders.yaml:7:12: \"retry_cap\" must be a whole number from 1 to 1000000, not the text \"3\"" },
    { ALL "retry_cap: 99999999999999999999\n",
      "orders.yaml:7:12: \"retry_cap\" must be a whole number from 1 to 1000000, not \"99999999999999999999\"" },
    { ALL "write_mode: upsert\n", "orders.yaml:7:13: \"write_mode\" must be append, truncate or cdc, not \"upsert\"" },
    { ALL "write_mode: cdc\n",
      "orders.yaml:7:13: \"write_mode: cdc\" needs \"cdc\": keys, operation_column, sequence_by "
      "and operations" },
    { ALL "batch_size: x\n", "orders.yaml:7:13: \"batch_size\" must be a whole number of at least 1, not \"x\"" },
    { ALL "csv: x\n", "orders.yaml:7:6: \"csv\" must be a map, not \"x\"" },
    { ALL "csv: {delimiter: \";;\"}\n",
      "orders.yaml:7:18: \"delimiter\" must be one ASCII character, or tab, not the text \";;\"" },
    { ALL "csv: {delimiter: \"é\"}\n",
      "orders.yaml:7:18: \"delimiter\" must be one ASCII character, or tab, not the text \"é\"" },
    { ALL "csv: {quote: \"\"}\n", "orders.yaml:7:14: \"quote\" must be one ASCII character, not the text \"\"" },
    { ALL "csv: {header: 1}\n", "orders.yaml:7:15: \"header\" must be true or false, not \"1\"" },
    { ALL "csv: {empty: nul}\n",
      "orders.yaml:7:14: \"empty\" must be null or keep, not \"nul\"; did you mean \"null\"?" },
    { ALL "csv: {null: NULL}\n", "orders.yaml:7:13: \"null\" has no value; in quotes, \"NULL\" is text" },
    { ALL "csv: {delimiter: \";\", quote: \";\"}\n",
      "orders.yaml:7:30: \"delimiter\" and \"quote\" are the same character" },
    { ALL "csv: {delimiter: \"\\n\"}\n", "orders.yaml:7:18: \"delimiter\" cannot be the end of a line" },
    { ALL "csv: {quote: \"\\r\"}\n", "orders.yaml:7:14: \"quote\" cannot be the end of a line" },
    { ALL "encoding: klingon\n",
      "orders.yaml:7:11: no character encoding is called \"klingon\"; \"iconv -l\" lists them" },
    { ALL "encoding: \"a\\u001b[2Jb\"\n",
      "orders.yaml:7:11: no character encoding is called \"a\\x1B[2Jb\"; \"iconv -l\" lists them" },
    { ALL "encoding: \"\"\n", "orders.yaml:7:11: no character encoding is called \"\"; \"iconv -l\" lists them" },
    { ALL "encoding: []\n", "orders.yaml:7:11: \"encoding\" must be a single value, not a list" },
    { ALL "paused: \n", "orders.yaml:7:1: \"paused\" has no value" },
};

static const Case files_cases[] = {
    { FREQUENCY SOURCE "format: cvs\n" TABLE COLUMNS DESTINATION,
      "orders.yaml:3:9: \"format\" must be csv, ndjson, fixed_width or parquet, not \"cvs\"; did you mean \"csv\"?" },
    { FREQUENCY SOURCE "format: parquet\nencoding: utf-8\n" TABLE COLUMNS DESTINATION,
      "orders.yaml:4:11: \"encoding\" belongs to formats of text, not to parquet" },
    { FREQUENCY SOURCE "format: parquet\ncsv: {header: no}\n" TABLE COLUMNS DESTINATION,
      "orders.yaml:4:6: \"csv\" belongs to format csv, not to parquet" },
    { FREQUENCY "source: {type: files, dir: in, duckdb_library: x.so}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:48: \"duckdb_library\" belongs to format parquet" },
    { FREQUENCY SOURCE "format: excel\n" TABLE COLUMNS DESTINATION,
      "orders.yaml:3:9: format \"excel\" is not supported yet; save the sheet as CSV" },
    { FREQUENCY SOURCE "format: \n" TABLE COLUMNS DESTINATION, "orders.yaml:3:1: \"format\" has no value" },
    { FREQUENCY SOURCE "format: {a: b}\n" TABLE COLUMNS DESTINATION,
      "orders.yaml:3:9: \"format\" must be csv, ndjson, fixed_width or parquet, not a map" },
    { FREQUENCY SOURCE "format: fixed_width\n" TABLE COLUMNS DESTINATION,
      "orders.yaml:5:11: missing key \"start\": a fixed_width column has \"start\" and \"width\"\norders.yaml:5:11: "
      "missing key \"width\": a fixed_width column has \"start\" and \"width\"" },
    { FREQUENCY SOURCE "format: ndjson\n" TABLE COLUMNS DESTINATION "csv: {header: false}\n",
      "orders.yaml:7:6: \"csv\" belongs to format csv, not to ndjson" },
    { FREQUENCY "source: {type: files, dir: \"s3://bucket/x\"}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:28: \"dir\" must be a local path: \"s3://bucket/x\" is not supported yet" },
    { FREQUENCY "source: {type: files, dir: ~/in}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:28: \"~\" is not expanded in \"dir\"; write the whole path" },
    { FREQUENCY "source: {type: files, dir: \"\"}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:28: \"dir\" must be a path, not the text \"\"" },
    { FREQUENCY "source: {type: files, dir: [in]}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:28: \"dir\" must be a path, not a list" },
    { FREQUENCY "source: {type: files, dir: !env DIR}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:28: \"dir\" cannot be a secret reference; write its value" },
    { FREQUENCY "source: {type: files, dir: in, file_pattern: \"in/*.csv\"}\n" FORMAT TABLE COLUMNS DESTINATION,
      "orders.yaml:2:46: \"file_pattern\" matches names of files; put the folder in \"dir\"" },
    { ALL "file_pattern: \"\"\n", "orders.yaml:7:15: \"file_pattern\" is empty; write * for all files" },
    { FREQUENCY SOURCE FORMAT "dest_table: _Wherry_state\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: tables whose names begin with \"_wherry_\" are wherry's own; choose another name" },
    { FREQUENCY SOURCE FORMAT "dest_table: Connector_SDK_Log\nlog_table: true\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: table \"Connector_SDK_Log\" is where \"log_table: true\" keeps log lines; choose another "
      "name" },
    { FREQUENCY SOURCE FORMAT "dest_table: SQLite_x\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: tables whose names begin with \"sqlite_\" are SQLite's own; choose another name" },
    { FREQUENCY SOURCE FORMAT "dest_table: \"\"\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: \"dest_table\" must be a name, not the text \"\"" },
    { FREQUENCY SOURCE FORMAT "dest_table: \"a\\tb\"\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: \"dest_table\" must be a name without control characters, not the text \"a\\x09b\"" },
    { FREQUENCY SOURCE FORMAT
      "dest_table: "
      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: \"dest_table\" is longer than 255 bytes" },
    { FREQUENCY SOURCE FORMAT "dest_table: !env T\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: \"dest_table\" cannot be a secret reference; write its value" },
    { FREQUENCY SOURCE FORMAT "dest_table: \"a\\0b\"\n" COLUMNS DESTINATION,
      "orders.yaml:4:13: the text holds a NUL character; leave it out" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: []\n" DESTINATION,
      "orders.yaml:5:10: \"columns\" is empty; list at least one column" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: 3\n" DESTINATION,
      "orders.yaml:5:10: \"columns\" must be a list, not \"3\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [a]\n" DESTINATION,
      "orders.yaml:5:11: \"columns\" must be a list of maps, not \"a\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a}]\n" DESTINATION, "orders.yaml:5:11: missing key \"type\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{type: string}]\n" DESTINATION,
      "orders.yaml:5:11: missing key \"source\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a, type: int}]\n" DESTINATION,
      "orders.yaml:5:29: \"type\" must be string, integer, float, date, timestamp, boolean, decimal, json or binary, "
      "not \"int\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a, type: strin}]\n" DESTINATION,
      "orders.yaml:5:29: \"type\" must be string, integer, float, date, timestamp, boolean, decimal, json or binary, "
      "not \"strin\"; did you mean \"string\"?" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a, type: string}, {source: A, type: string}]\n" DESTINATION,
      "orders.yaml:5:47: column \"A\" stands here twice (upper and lower case are the same)" },
    { FREQUENCY SOURCE FORMAT TABLE
      "columns: [{source: a, type: string}, {source: b, dest: A, type: string}]\n" DESTINATION,
      "orders.yaml:5:56: column \"A\" stands here twice (upper and lower case are the same)" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a, dest: _ID, type: string}]\n" DESTINATION,
      "orders.yaml:5:29: \"_ID\" is a column that wherry adds itself; choose another \"dest\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: _ingested_at, type: date}]\n" DESTINATION,
      "orders.yaml:5:20: \"_ingested_at\" is a column that wherry adds itself; choose another \"dest\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a, type: string, start: 1}]\n" DESTINATION,
      "orders.yaml:5:44: \"start\" belongs to format fixed_width" },
    { FREQUENCY SOURCE "format: fixed_width\n" TABLE
                       "columns: [{source: a, type: string, start: 0, width: 5}]\n" DESTINATION,
      "orders.yaml:5:44: \"start\" must be a whole number from 1 to 1048576, not \"0\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a, dest: b, type: string}]\n" DESTINATION
                                    "csv: {header: false}\n",
      "orders.yaml:5:20: with \"header: false\" a column's \"source\" is its position: 1, 2, …" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: 1, type: string}]\n" DESTINATION "csv: {header: false}\n",
      "orders.yaml:5:20: a column without a name needs \"dest\"" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: 70000, dest: a, type: string}]\n" DESTINATION
                                    "csv: {header: false}\n",
      "orders.yaml:5:20: \"source\" is a position from 1 to 65535" },
    { FREQUENCY SOURCE FORMAT TABLE "columns: [{source: 0, dest: a, type: string}]\n" DESTINATION
                                    "csv: {header: false}\n",
      "orders.yaml:5:20: with \"header: false\" a column's \"source\" is its position: 1, 2, …" },
    { ALL "quarantine: {enabled: true, dir: q}\n",
      "orders.yaml:7:13: \"quarantine\" needs a limit: \"max_invalid_rows\", \"max_invalid_fraction\" or both" },
    { ALL "quarantine: {enabled: true, max_invalid_rows: 0}\n",
      "orders.yaml:7:13: missing key \"dir\": where bad rows are set aside" },
    { ALL "quarantine: {enabled: true, dir: q, max_invalid_rows: -1}\n",
      "orders.yaml:7:55: \"max_invalid_rows\" must be a whole number, not \"-1\"" },
    { ALL "quarantine: {dir: q}\n", "orders.yaml:7:13: missing key \"enabled\"" },
    { ALL "source_manifest: optional\n", "" },
    { ALL "source_manifest: require\n", "orders.yaml:7:18: \"source_manifest\" must be disabled, optional or required, "
                                        "not \"require\"; did you mean \"required\"?" },
    { ALL "quarantine: {enabled: false, max_invalid_fraction: 2}\n",
      "orders.yaml:7:52: \"max_invalid_fraction\" must be a number from 0 to 1, not \"2\"" },
};

static const Case sqlite_cases[] = {
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, }\n",
      "orders.yaml:6:14: missing key \"url\": the database, such as sqlite:////var/lib/wherry/data.db" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: a.db, url: \"sqlite:///b.db\"}\n",
      "orders.yaml:6:35: \"path\" and \"url\" name the database twice; keep one" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: \"sqlite://\"}\n",
      "orders.yaml:6:34: a database in memory is gone when the sync ends; name a file" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: \"sqlite:///:memory:\"}\n",
      "orders.yaml:6:34: a database in memory is gone when the sync ends; name a file" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: \"postgres://h/d\"}\n",
      "orders.yaml:6:34: the url of a sqlite destination is sqlite:///relative.db or sqlite:////absolute.db" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: \"postgres://u:secret1@h/d\"}\n",
      "orders.yaml:6:34: the url of a sqlite destination is sqlite:///relative.db or "
      "sqlite:////absolute.db\norders.yaml:6:34: warning: \"url\" holds a password; !env, !file or !credential keep it "
      "out of here" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: \"sqlite:///x.db?mode=ro\"}\n",
      "orders.yaml:6:34: parameters after \"?\" are not supported; leave them out" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: !env URL}\n",
      "orders.yaml:6:34: the url of a sqlite destination holds no secret: write it out" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: data/}\n",
      "orders.yaml:6:35: the database is a file, not a folder" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: !file x}\n",
      "orders.yaml:6:35: \"path\" cannot be a secret reference; write its value" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: x.db, journal_mode: off}\n",
      "orders.yaml:6:55: \"journal_mode\" must be wal or truncate, not \"off\"" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: x.db, journal_mode: wall}\n",
      "orders.yaml:6:55: \"journal_mode\" must be wal or truncate, not \"wall\"; did you mean \"wal\"?" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: x.db, busy_timeout: 1w}\n",
      "orders.yaml:6:55: \"busy_timeout\" must be a duration of at most 1d, such as 30s, 15m or 6h, or 0, not \"1w\"" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: x.db, schema: shop}\n", "" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: x.db, schema: SQLite_x}\n",
      "orders.yaml:6:49: tables whose names begin with \"sqlite_\" are kept for others; choose another name" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: x.db, schema: _wherry}\n",
      "orders.yaml:6:49: tables whose names begin with \"_wherry_\" are kept for others; choose another name" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres}\n", "" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres, url: !env SHOP, password: !file p}\n", "" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres, url: \"postgresql+psycopg2://h/d\"}\n", "" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres, url: \"mysql://h/d\"}\n",
      "orders.yaml:6:36: the url of a postgres destination is postgresql://USER@HOST:PORT/DATABASE or \"host=… "
      "dbname=…\"" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres, url: \"host=h password='a b c d'\"}\n",
      "orders.yaml:6:36: warning: \"url\" holds a password; !env, !file or !credential keep it out of here" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres, url: \"host=h\", password: secret}\n",
      "orders.yaml:6:56: warning: \"password\" is written out; !env, !file or !credential keep it out of here" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS
      "destination: {type: postgres, schema: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}\n",
      "orders.yaml:6:39: longer than a name may be in PostgreSQL (63 bytes)" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: postgres, sslmode: verify}\n",
      "orders.yaml:6:40: \"sslmode\" must be disable, allow, prefer, require, verify-ca or verify-full, not "
      "\"verify\"" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: state/daemon/x.db}\n",
      "orders.yaml:6:35: \"@/state/daemon/x.db\" lies in wherry's own folder \"@/state/daemon\"; put the database "
      "elsewhere" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS
      "destination: {type: sqlite, url: \"sqlite:///state/other/../daemon/x.db\"}\n",
      "orders.yaml:6:34: \"@/state/other/../daemon/x.db\" lies in wherry's own folder \"@/state/daemon\"; put the "
      "database elsewhere" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: link/x.db}\n",
      "orders.yaml:6:35: \"@/link/x.db\" lies in wherry's own folder \"@/state/daemon\"; put the database elsewhere" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: dangling.db}\n",
      "orders.yaml:6:35: \"@/dangling.db\" lies in wherry's own folder \"@/state/daemon\"; put the database "
      "elsewhere" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: state/daemon}\n",
      "orders.yaml:6:35: \"@/state/daemon\" lies in wherry's own folder \"@/state/daemon\"; put the database "
      "elsewhere" },
};

static const Case yaml_cases[] = {
    { "", "orders.yaml:1:1: the file is empty; it needs a source, a destination, and what to load" },
    { "# nothing\n", "orders.yaml:1:1: the file is empty; it needs a source, a destination, and what to load" },
    { "---\n", "orders.yaml:1:1: the file is empty; it needs a source, a destination, and what to load" },
    { "- a\n", "orders.yaml:1:1: a pipeline file is a map of keys, such as \"frequency: 15m\"" },
    { "hello\n", "orders.yaml:1:1: a pipeline file is a map of keys, such as \"frequency: 15m\"" },
    { "a: [1, 2\nb: 3\n", "orders.yaml:3:1: not valid YAML: flow sequence without a closing bracket" },
    { "a: 1\n\tb: 2\n", "orders.yaml:2:1: a tab indents this line; YAML wants spaces" },
    { "a:\n\t- b\n", "orders.yaml:2:1: a tab indents this line; YAML wants spaces" },
    { "a: b: c\n", "orders.yaml:1:5: not valid YAML: invalid nested block mapping on the same line" },
    { "a: \"x\n", "orders.yaml:1:5: not valid YAML: double-quoted scalar without closing quote" },
    { "a: *x\n", "orders.yaml:1:4: \"*x\" refers to no anchor before it; put text that begins with * in quotes" },
    { "a: &a [*a]\n", "orders.yaml:1:8: \"*a\" refers to what it stands in" },
    { "a: ,\n", "orders.yaml:1:4: not valid YAML: did not find expected node content" },
    { "- a\nb: 1\n", "orders.yaml:2:1: not valid YAML: invalid scalar at the end of block sequence" },
    { "a: 1\n---\nb: 2\n", "orders.yaml:2:1: a second document begins here (\"---\"); keep one in each file" },
    { "a: 1\n%FOO bar\n", "orders.yaml:2:1: a YAML directive (\"%…\"), which has no place here; remove this line" },
    { "? [a]\n: b\n", "orders.yaml:1:3: a key must be plain text" },
    { "!env a: 1\n", "orders.yaml:1:1: a key must be plain text" },
    { "a: !evn X\n", "orders.yaml:1:4: unknown tag \"!evn\"; did you mean \"!env\"?" },
    { "a: !zzzzzzz X\n", "orders.yaml:1:4: unknown tag \"!zzzzzzz\"; there are !env, !file, !credential and !json" },
    { "a: !env\n",
      "orders.yaml:1:1: missing key \"source\"; " LEND
      "add these two lines, with the folder to read:\nsource:\n  {type: "
      "files, dir: /srv/incoming}\norders.yaml:1:1: missing key \"destination\": where rows go, such as {type: sqlite, "
      "path: data.db}\norders.yaml:1:1: unknown key \"a\"; here may stand source, destination, connector, frequency, "
      "paused, max_value_size, stall_timeout, commit_interval, log_level, sandbox, log_table, naming, history, "
      "on_schema_change, "
      "strip_nul, file_pattern, format, csv, encoding, dest_table, write_mode, columns, retry_cap, source_manifest, "
      "quarantine or cdc" },
    { "a: !env [x]\n", "orders.yaml:1:9: \"!env\" needs a name after it, such as !env PASSWORD" },
    { "a: !file {x: y}\n", "orders.yaml:1:10: \"!file\" needs a name after it, such as !file /etc/wherry/password" },
    { "a: \"\\0\"\n", "orders.yaml:1:4: the text holds a NUL character; leave it out" },
    { "a: \"\\uD800\"\n", "orders.yaml:1:5: not valid YAML: double-quoted scalar has invalid UTF8 escape" },
    { "<<: 3\n", "orders.yaml:1:5: \"<<\" needs a map to merge, such as *common" },
    { "a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
      "orders.yaml:1:35: nested deeper than 32 levels" },
    { "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: "
      "&d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
      "orders.yaml:4:7: more than 100000 values, aliases counted at each use" },
    { "a: |\n  text\n b\n", "orders.yaml:3:2: not valid YAML: invalid value after mapping" },
    { ": : :\n",
      "orders.yaml:1:1: missing key \"source\"; " LEND
      "add these two lines, with the folder to read:\nsource:\n  {type: "
      "files, dir: /srv/incoming}\norders.yaml:1:1: missing key \"destination\": where rows go, such as {type: sqlite, "
      "path: data.db}\norders.yaml:1:1: unknown key \"\"; here may stand source, destination, connector, frequency, "
      "paused, max_value_size, stall_timeout, commit_interval, log_level, sandbox, log_table, naming, history, "
      "on_schema_change, "
      "strip_nul, file_pattern, format, csv, encoding, dest_table, write_mode, columns, retry_cap, source_manifest, "
      "quarantine or cdc" },
    { "a: @x\n", "orders.yaml:1:4: not valid YAML: plain scalar cannot start with '@'" },
    { "a: `x`\n", "orders.yaml:1:4: not valid YAML: plain scalar cannot start with '`'" },
    { "a: %x\n", "orders.yaml:1:4: not valid YAML: plain scalar cannot start with '%'" },
    { "\"a\n", "orders.yaml:1:2: not valid YAML: double-quoted scalar without closing quote" },
    { "{a: 1, b: 2\n", "orders.yaml:2:1: not valid YAML: missing comma in flow mapping" },
};

#define PROTECTED(what) FREQUENCY SOURCE FORMAT TABLE "columns: [{source: a, type: date, " what "}]\n" DESTINATION
#define NOT_THE_KEY                                                                                            \
    "\"key\" must say where the key is and not be the key: env:NAME, secrets:/path, !env NAME, !file PATH or " \
    "!credential NAME"

/* No message quotes what stands for a key: it may be one. */
static const Case protection_cases[] = {
    { PROTECTED("encrypt: {algorithm: aes-256-gcm, key: env:DATA_KEY}"), "" },
    { PROTECTED("encrypt: {algorithm: aes-256-gcm, key: \"secrets:/run/keys/data\"}"), "" },
    { PROTECTED("encrypt: {algorithm: aes-256-gcm, key: !env DATA_KEY}"), "" },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: !file keys/join}"), "" },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: !credential join}"), "" },
    { PROTECTED("encrypt: {key: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}"),
      "orders.yaml:5:44: missing key \"algorithm\"\norders.yaml:5:50: " NOT_THE_KEY },
    { PROTECTED("encrypt: {algorithm: aes-256-gcm}"), "orders.yaml:5:44: missing key \"key\"" },
    { PROTECTED("encrypt: {algorithm: aes-128-gcm, key: env:A}"),
      "orders.yaml:5:56: \"algorithm\" must be aes-256-gcm, not \"aes-128-gcm\"; did you mean \"aes-256-gcm\"?" },
    { PROTECTED("hash: {algorithm: sha256, key: env:A}"),
      "orders.yaml:5:53: \"algorithm\" must be hmac-sha256, not \"sha256\"" },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: \"env:\"}"), "orders.yaml:5:71: " NOT_THE_KEY },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: \"env:c2VjcmV0=\"}"), "orders.yaml:5:71: " NOT_THE_KEY },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: \"secrets:\"}"), "orders.yaml:5:71: " NOT_THE_KEY },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: secrets:keys/join}"), "orders.yaml:5:71: " NOT_THE_KEY },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: !env \"\"}"), "orders.yaml:5:71: " NOT_THE_KEY },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: !credential ../join}"), "orders.yaml:5:71: " NOT_THE_KEY },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: [a]}"),
      "orders.yaml:5:71: \"key\" must be a single value, not a list" },
    { PROTECTED("hash: {algorithm: hmac-sha256, key: null}"),
      "orders.yaml:5:71: \"key\" has no value; in quotes, \"null\" is text" },
    { PROTECTED("encrypt: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
      "orders.yaml:5:44: \"encrypt\" must be a map, such as {algorithm: …, key: env:NAME}" },
    { PROTECTED("encrypt: {algorithm: aes-256-gcm, key: env:A}, hash: {algorithm: hmac-sha256, key: env:B}"),
      "orders.yaml:5:88: a column has \"encrypt\" or \"hash\"; for both, list it twice, with two \"dest\"" },
    { PROTECTED("encrypt: {algorithm: aes-256-gcm, key: env:A, kye: env:B}"),
      "orders.yaml:5:81: unknown key \"kye\"; did you mean \"key\"?" },
};

static const Case secrets_cases[] = {
    { ALL "encoding: !env X\n", "orders.yaml:7:11: \"encoding\" cannot be a secret reference; write its value" },
    { ALL "csv: {null: !file x}\n", "orders.yaml:7:13: \"null\" cannot be a secret reference; write its value" },
    { ALL "file_pattern: !credential x\n",
      "orders.yaml:7:15: \"file_pattern\" cannot be a secret reference; write its value" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: x.db, url: !env \"\"}\n",
      "orders.yaml:6:35: \"path\" and \"url\" name the database twice; keep one\norders.yaml:6:46: \"!env\" needs a "
      "name after it" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: !env \"A=B\"}\n",
      "orders.yaml:6:34: \"A=B\" cannot be the name of an environment variable" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: !credential a/b}\n",
      "orders.yaml:6:34: \"a/b\" cannot be the name of a credential; for a path write !file" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: !credential .x}\n",
      "orders.yaml:6:34: \".x\" cannot be the name of a credential; for a path write !file" },
    { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: !file \"\"}\n",
      "orders.yaml:6:34: \"!file\" needs a name after it" },
};

static void check_said(const char *file, size_t n, const char *expected)
{
    write_bytes("orders.yaml", file, n);
    _cleanup_(config_set_freep) ConfigSet *set = load_file("orders.yaml", NULL);
    _cleanup_(freep) char *said = said_of_set(set);
    if (strcmp(said, expected) != 0)
        print_error("for this file:\n%.*s\n", (int)MIN_OF(n, (size_t)500), file);
    assert_string_equal(said, expected);
    assert_int_equal(set->connection_count + set->problem_count, 1);
}

static const Case exec_cases[] = {
    { "source: {type: exec}\n" DESTINATION, "orders.yaml:1:9: missing key \"command\"" },
    { "source: {type: exec, command: ./emit.py}\n" DESTINATION,
      "orders.yaml:1:31: \"command\" must be a list, not \"./emit.py\"" },
    { "source: {type: exec, command: []}\n" DESTINATION,
      "orders.yaml:1:31: \"command\" is empty; name the program to run" },
    { "source: {type: exec, command: [\"\", a]}\n" DESTINATION,
      "orders.yaml:1:31: \"command\" is empty; name the program to run" },
    { "source: {type: exec, command: [./emit.py, !env TOKEN]}\n" DESTINATION,
      "orders.yaml:1:31: a secret in \"command\" could be seen in the list of processes; put it into "
      "\"configuration\"" },
    { "source: {type: fivetran}\n" DESTINATION, "orders.yaml:1:9: missing key \"project\"" },
    { "source: {type: fivetran, project: p, configuration: [a]}\n" DESTINATION,
      "orders.yaml:1:53: \"configuration\" must be a map of names and texts" },
    { "source: {type: fivetran, project: p, configuration: {a: 1}}\n" DESTINATION,
      "orders.yaml:1:53: \"a\" in \"configuration\" must be text; put it in quotes" },
    { "source: {type: fivetran, project: p, python: \"3.12\", environment: e}\n" DESTINATION,
      "orders.yaml:1:46: \"environment\" brings its own interpreter; leave \"python\" out" },
    { "source: {type: exec, command: [a], configuration: [b]}\n" DESTINATION,
      "orders.yaml:1:51: \"configuration\" must be a map" },
    { "source: {type: exec, command: [a]}\n" DESTINATION "naming: fivetran\n",
      "orders.yaml:3:9: \"naming\" must be normalised or source, not \"fivetran\"" },
    { "source: {type: exec, command: [a]}\n" DESTINATION "on_schema_change: block\n",
      "orders.yaml:3:19: \"on_schema_change\" must be allow_all, allow_columns or block_all, not \"block\"" },
    { "source: {type: exec, command: [a]}\n" DESTINATION "dest_table: t\n",
      "orders.yaml:3:1: unknown key \"dest_table\"; here may stand source, destination, connector, frequency, paused, "
      "max_value_size, stall_timeout, commit_interval, log_level, sandbox, log_table, naming, history, "
      "on_schema_change or "
      "strip_nul" },
};

static void check_cases(const Case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_said(cases[i].file, strlen(cases[i].file), cases[i].said);
}

static void test_keys(void **state)
{
    check_cases(keys_cases, ELEMENTSOF(keys_cases));
}

static void test_types(void **state)
{
    check_cases(types_cases, ELEMENTSOF(types_cases));
}

static void test_files(void **state)
{
    check_cases(files_cases, ELEMENTSOF(files_cases));
}

static void test_sqlite(void **state)
{
    mkdir("state", 0700);
    mkdir("state/daemon", 0700);
    mkdir("state/other", 0700);
    assert_int_equal(symlink("state/daemon", "link"), 0);
    assert_int_equal(symlink("state/daemon/new.db", "dangling.db"), 0);
    check_cases(sqlite_cases, ELEMENTSOF(sqlite_cases));
}

static void test_exec(void **state)
{
    check_cases(exec_cases, ELEMENTSOF(exec_cases));
}

static void test_yaml(void **state)
{
    check_cases(yaml_cases, ELEMENTSOF(yaml_cases));
}

static void test_protection(void **state)
{
    check_cases(protection_cases, ELEMENTSOF(protection_cases));
}

static void test_secrets(void **state)
{
    check_cases(secrets_cases, ELEMENTSOF(secrets_cases));
}

static void test_bytes(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *said;
    } cases[] = {
        { "a: 1\nb: \xff\n", 10, "orders.yaml:2:4: the byte 0xFF is not UTF-8; save the file as UTF-8" },
        { "a: \xc3\xa9 \xe9\n", 8, "orders.yaml:1:6: the byte 0xE9 is not UTF-8; save the file as UTF-8" },
        { "\xff\xfe"
          "a\0",
          4, "orders.yaml:1:1: the byte 0xFF is not UTF-8; save the file as UTF-8" },
        { "a: 1\n\0", 6, "orders.yaml:2:1: a NUL byte; this is no text file" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check_said(cases[i].bytes, cases[i].n, cases[i].said);
}

/* BEFORE, then UNIT with its number N times, then AFTER. */
static char *repeated(const char *before, const char *unit, int n, const char *after)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    buffer_append_string(&text, before);
    for (int i = 0; i < n; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", i);
        for (const char *c = unit; *c; c++)
            buffer_append(&text, *c == '#' ? number : c, *c == '#' ? strlen(number) : 1);
    }
    buffer_append_string(&text, after);
    return buffer_take_string(&text);
}

/* Each bound, one past it. */
static void test_bounds(void **state)
{
    static const struct {
        const char *before, *unit;
        int n;
        const char *after, *said;
    } cases[] = {
        { "", "k#: 1\n", 4097, "", "orders.yaml:4097:1: more than 4096 keys in one map" },
        { "a: [", "&a# x, ", 257, "]\n", "orders.yaml:1:2205: more than 256 anchors; write some values out" },
        { "a: !<", "x", 1000000, "",
          "orders.yaml:1:4: a tag (\"!…\") of more than 256 bytes; put text that begins with ! in quotes" },
        { "a: !", "%41", 300000, "",
          "orders.yaml:1:4: a tag (\"!…\") of more than 256 bytes; put text that begins with ! in quotes" },
        { "", "%", 1000000, "",
          "orders.yaml:1:1: a YAML directive (\"%…\"), which has no place here; remove this line" },
        { "a: ", "[", 32, "", "orders.yaml:1:35: nested deeper than 32 levels" },
        { "a: [", "x,", 100000, "]\n", "orders.yaml:1:200003: more than 100000 values, aliases counted at each use" },
        { "", "###########x", 87382, "", "orders.yaml: larger than 1024 KiB; a pipeline file is a page of text" },
        { FREQUENCY SOURCE FORMAT TABLE "columns: [", "{source: c#, type: string}, ", 1998, "]\n" DESTINATION,
          "orders.yaml:5:10: more than 1997 columns, which is all that a SQLite table holds" },
        { FREQUENCY FORMAT TABLE COLUMNS DESTINATION "source: {type: files, dir: \"", "a/", 2100, "\"}\n",
          "orders.yaml:6:28: \"dir\" is longer than a path may be (4095 bytes)" },
        { FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, url: \"sqlite:///", "a/", 2100, "b\"}\n",
          "orders.yaml:6:34: longer than a path may be (4095 bytes)" },
        { FREQUENCY SOURCE FORMAT COLUMNS DESTINATION "dest_table: ", "x", 256, "\n",
          "orders.yaml:6:13: \"dest_table\" is longer than 255 bytes" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *file = repeated(cases[i].before, cases[i].unit, cases[i].n, cases[i].after);
        check_said(file, strlen(file), cases[i].said);
    }
}

/* A file that is wrong everywhere: the first 50, and how many more. */
static void test_many_problems(void **state)
{
    _cleanup_(freep) char *file = repeated(ALL, "zz#: 1\n", 60, "");
    write_text("orders.yaml", file);
    _cleanup_(config_set_freep) ConfigSet *set = load_file("orders.yaml", NULL);
    const char *said = set->problems[0].message;
    size_t lines = 0;
    for (const char *c = strchr(said, '\n'); c; c = strchr(c + 1, '\n'))
        lines++;
    assert_int_equal(lines, 50);
    assert_non_null(strstr(said, "orders.yaml:7:1: unknown key \"zz0\""));
    assert_string_equal(strrchr(said, '\n') + 1, "… and 10 more");
}

/* All of it is said in one go, from the top of the file to its bottom, whichever check found it. */
static void test_all_at_once(void **state)
{
    static const char file[] = "columns: [{source: a, type: string}, {source: A, type: strin}]\n"
                               "frequency: 1w\n"
                               "dest_table: _wherry_x\n"
                               "formt: csv\n"
                               "source: {type: files, dir: in}\n"
                               "batch_size: 5\n"
                               "destination: {type: sqlite, path: x.db, url: \"sqlite:///x.db\"}\n";
    check_said(file, strlen(file),
               "orders.yaml:1:47: column \"A\" stands here twice (upper and lower case are the same)\n"
               "orders.yaml:1:56: \"type\" must be string, integer, float, date, timestamp, boolean, decimal, json or "
               "binary, not \"strin\"; did you mean \"string\"?\n"
               "orders.yaml:2:12: \"frequency\" must be a duration of at least 1s, such as 15m, 6h or 1d, or manual, "
               "not \"1w\"\n"
               "orders.yaml:3:13: tables whose names begin with \"_wherry_\" are wherry's own; choose another name\n"
               "orders.yaml:4:1: unknown key \"formt\"; did you mean \"format\"?\n"
               "orders.yaml:7:35: \"path\" and \"url\" name the database twice; keep one\n"
               "orders.yaml:6:1: warning: \"batch_size\" has no effect: each file is one transaction");
}

/* libfyaml has opinions on stderr of its own, unless it is told not to. */
static void test_stderr_stays_quiet(void **state)
{
    int saved = dup(STDERR_FILENO);
    FILE *capture = fopen("stderr", "w+e");
    assert_non_null(capture);
    dup2(fileno(capture), STDERR_FILENO);
    for (size_t i = 0; i < ELEMENTSOF(yaml_cases); i++) {
        write_text("orders.yaml", yaml_cases[i].file);
        config_set_free(load_file("orders.yaml", NULL));
    }
    dup2(saved, STDERR_FILENO);
    close(saved);
    fseek(capture, 0, SEEK_END);
    assert_int_equal(ftell(capture), 0);
    fclose(capture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_sqlite),
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_protection),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_stderr_stays_quiet),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
