/*
 * What configuration becomes: the connection's JSON, defaults, names of files, the check command's output, and that
 * what lies in etc/ agrees with the code.
 */
#include "tests/unit/config-files.h"

#include <syslog.h>

#include "daemon/wherryd/check.h"

static void expect_failure(const char *message)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(config_load("etc", "state", NULL, &set, &error), -1);
    assert_null(set);
    assert_int_equal(error.kind, ERROR_CONFIGURATION);
    _cleanup_(freep) char *said = relative(error.message);
    assert_string_equal(said, message);
}

static json_t *json_of(const ConfigSet *set, const char *name)
{
    const ConnectionConfig *config = config_set_find(set, name);
    assert_non_null(config);
    json_t *json = json_loads(config->json, 0, NULL);
    assert_non_null(json);
    return json;
}

/* --- one connection --- */

static void expect_json(const ConfigSet *set, const char *name, const char *expected)
{
    _cleanup_(freep) char *text = relative(config_set_find(set, name)->json);
    json_t *found = json_loads(text, 0, NULL), *wanted = json_loads(expected, 0, NULL);
    assert_non_null(found);
    assert_non_null(wanted);
    if (!json_equal(found, wanted))
        assert_string_equal(text, expected);
    json_decref(found);
    json_decref(wanted);
}

static void test_whole_form(void **state)
{
    write_text("etc/pipelines.d/orders.yaml", "frequency: 15m\n"
                                              "source:\n"
                                              "  type: files\n"
                                              "  dir: in\n"
                                              "  file_pattern: \"*.csv\"\n"
                                              "  watch: true\n"
                                              "format: csv\n"
                                              "dest_table: orders\n"
                                              "write_mode: append\n"
                                              "columns:\n"
                                              "  - {source: id, dest: order_id, type: integer}\n"
                                              "  - {source: note, type: string, required: false}\n"
                                              "connector:\n"
                                              "  type: sqlite\n"
                                              "  url: sqlite:////var/lib/wherry/orders.db\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    expect_json(set, "orders",
                "{\"name\": \"orders\", \"frequency\": 900, \"paused\": false, \"write_mode\": \"append\","
                " \"retry_cap\": 3, \"max_value_size\": 16777216, \"stall_timeout\": 1800, \"commit_interval\": 1,"
                " \"log_level\": \"info\", \"log_table\": false, \"sandbox\": {\"mode\": \"default\"},"
                " \"source\": {\"type\": \"files\", \"dir\": \"@/etc/pipelines.d/in\", \"file_pattern\": \"*.csv\","
                " \"watch\": true},"
                " \"format\": \"csv\", \"csv\": {\"delimiter\": \",\", \"quote\": \"\\\"\", \"header\": true,"
                " \"empty\": \"null\"}, \"encoding\": \"utf-8\", \"source_manifest\": \"optional\","
                " \"dest_table\": \"orders\", \"columns\": ["
                "{\"source\": \"id\", \"dest\": \"order_id\", \"type\": \"integer\", \"required\": true},"
                "{\"source\": \"note\", \"dest\": \"note\", \"type\": \"string\", \"required\": false}],"
                " \"destination\": {\"type\": \"sqlite\", \"path\": \"/var/lib/wherry/orders.db\","
                " \"busy_timeout\": 60}}");
    const ConnectionConfig *config = config_set_find(set, "orders");
    _cleanup_(freep) char *watch = relative(config->watch_dir), *path = relative(config->path);
    assert_string_equal(config->name, "orders");
    assert_string_equal(path, "@/etc/pipelines.d/orders.yaml");
    assert_string_equal(config->source, "files");
    assert_string_equal(config->destination, "sqlite");
    assert_string_equal(config->identity, "sqlite:/var/lib/wherry/orders.db");
    assert_string_equal(watch, "@/etc/pipelines.d/in");
    assert_int_equal(config->frequency_s, 900);
    assert_int_equal(config->stall_timeout_s, 1800);
    assert_int_equal(config->retry_cap, 3);
    assert_int_equal(config->log_level, LOG_INFO);
    assert_false(config->paused);
    assert_true(config->local);
    assert_null(config_set_find(set, "order"));
}

/* Other spellings, and what they come to: a JSON fragment that must be part of the connection. */
static void test_values(void **state)
{
    static const struct {
        const char *file, *part;
    } cases[] = {
        { ALL, "{\"source\": {\"type\": \"files\", \"dir\": \"@/etc/pipelines.d/in\", \"file_pattern\": \"*\","
               " \"watch\": false}}" },
        { "\xef\xbb\xbf" ALL, "{\"frequency\": 900}" },
        { SOURCE FORMAT TABLE COLUMNS DESTINATION, "{\"frequency\": 21600}" },
        { SOURCE FORMAT TABLE COLUMNS DESTINATION "frequency: manual\n", "{\"frequency\": 0}" },
        { SOURCE FORMAT TABLE COLUMNS DESTINATION "frequency: 1s\n", "{\"frequency\": 1}" },
        { ALL "stall_timeout: off\ncommit_interval: 0\n", "{\"stall_timeout\": 0, \"commit_interval\": 0}" },
        { ALL "stall_timeout: 2d\ncommit_interval: 0s\n", "{\"stall_timeout\": 172800, \"commit_interval\": 0}" },
        { ALL "max_value_size: 512M\n", "{\"max_value_size\": 536870912}" },
        { ALL "max_value_size: 1024\n", "{\"max_value_size\": 1024}" },
        { ALL "paused: yes\nlog_level: debug\nretry_cap: 7\n",
          "{\"paused\": true, \"log_level\": \"debug\", \"retry_cap\": 7}" },
        { ALL "sandbox: strict\n", "{\"sandbox\": {\"mode\": \"strict\"}}" },
        { ALL "sandbox: {memory: 1G, ports: [443, 8086]}\n",
          "{\"sandbox\": {\"mode\": \"default\", \"memory\": 1073741824, \"ports\": [443, 8086]}}" },
        { ALL "file_pattern: '*.csv'\n", "{\"source\": {\"type\": \"files\", \"dir\": \"@/etc/pipelines.d/in\","
                                         " \"file_pattern\": \"*.csv\", \"watch\": false}}" },
        { ALL "csv: {delimiter: tab, quote: \"'\", null: -999, empty: keep}\n",
          "{\"csv\": {\"delimiter\": \"\\t\", \"quote\": \"'\", \"header\": true, \"null\": \"-999\","
          " \"empty\": \"keep\"}}" },
        { ALL "csv: {null: \"\", empty: null}\n", "{\"csv\": {\"delimiter\": \",\", \"quote\": \"\\\"\", \"header\": "
                                                  "true, \"null\": \"\", \"empty\": \"null\"}}" },
        { FREQUENCY SOURCE FORMAT TABLE DESTINATION "csv: {header: no}\n"
                                                    "columns: [{source: 3, dest: c, type: json}]\n",
          "{\"columns\": [{\"source\": 3, \"dest\": \"c\", \"type\": \"json\", \"required\": true}]}" },
        { FREQUENCY SOURCE FORMAT TABLE DESTINATION
          "columns: [{source: 2024, type: float}, {source: \"1\", type: date}]\n",
          "{\"columns\": [{\"source\": \"2024\", \"dest\": \"2024\", \"type\": \"float\", \"required\": true},"
          " {\"source\": \"1\", \"dest\": \"1\", \"type\": \"date\", \"required\": true}]}" },
        { FREQUENCY SOURCE TABLE DESTINATION "format: fixed_width\nencoding: latin1\n"
                                             "columns: [{source: a, type: binary, start: 1, width: 8}]\n",
          "{\"csv\": null, \"encoding\": \"latin1\", \"columns\": [{\"source\": \"a\", \"dest\": \"a\", \"type\":"
          " \"binary\", \"required\": true, \"start\": 1, \"width\": 8}]}" },
        { FREQUENCY SOURCE FORMAT TABLE COLUMNS
          "destination: {type: sqlite, url: \"sqlite:///../x.db\", journal_mode: wal, busy_timeout: 0}\n",
          "{\"destination\": {\"type\": \"sqlite\", \"path\": \"@/etc/pipelines.d/../x.db\", \"journal_mode\": \"wal\","
          " \"busy_timeout\": 0}}" },
        { ALL "source_manifest: disabled\nquarantine: {enabled: false, max_invalid_rows: 5}\n",
          "{\"source_manifest\": \"disabled\", \"quarantine\": null}" },
        { ALL "quarantine: {enabled: true, dir: bad, max_invalid_fraction: 0.25}\n",
          "{\"quarantine\": {\"enabled\": true, \"dir\": \"@/etc/pipelines.d/bad\", \"max_invalid_fraction\": 0.25}}" },
        /* anchors and merges */
        { FREQUENCY SOURCE FORMAT TABLE DESTINATION
          "columns:\n  - &c {source: a, type: date, required: no}\n  - {<<: *c, source: b}\n",
          "{\"columns\": [{\"source\": \"a\", \"dest\": \"a\", \"type\": \"date\", \"required\": false},"
          " {\"source\": \"b\", \"dest\": \"b\", \"type\": \"date\", \"required\": false}]}" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        write_text("etc/pipelines.d/one.yaml", cases[i].file);
        _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
        expect_said(set, "");
        json_t *found = json_of(set, "one"), *wanted = json_loads(cases[i].part, 0, NULL), *value;
        assert_non_null(wanted);
        const char *key;
        json_object_foreach (wanted, key, value) {
            json_t *own = json_object_get(found, key);
            _cleanup_(freep) char *dump = own ? json_dumps(own, JSON_ENCODE_ANY | JSON_SORT_KEYS) : xstrdup("null");
            _cleanup_(freep) char *text = relative(dump), *want = json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS);
            assert_string_equal(text, want);
        }
        json_decref(found);
        json_decref(wanted);
    }
}

static void test_harmless_keys_warn(void **state)
{
    write_text("etc/pipelines.d/one.yaml", ALL "batch_size: 500\nstale_timeout_minutes: 30\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "one.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction\n"
                     "one.yaml:8:1: warning: \"stale_timeout_minutes\" has no effect: a file left by a sync that died "
                     "is taken up again at once");
    assert_int_equal(set->connection_count, 1);
}

/* Two spellings of one file wait for each other; a database in another place does not. */
static void test_identity(void **state)
{
    mkdir("data", 0700);
    assert_int_equal(symlink("data", "alias"), 0);
    assert_int_equal(symlink("later.db", "data/dangling.db"), 0);
    static const struct {
        const char *path, *identity;
    } cases[] = {
        { "../../data/x.db", "sqlite:@/data/x.db" },
        { "../../alias/x.db", "sqlite:@/data/x.db" },
        { "../../data/no/../x.db", "sqlite:@/data/x.db" },
        { "../../data/./x.db", "sqlite:@/data/x.db" },
        { "../../alias/dangling.db", "sqlite:@/data/later.db" },
        { "../../data/new/x.db", "sqlite:@/data/new/x.db" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *file =
            xasprintf(FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: %s}\n", cases[i].path);
        write_text("etc/pipelines.d/one.yaml", file);
        _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
        expect_said(set, "");
        _cleanup_(freep) char *identity = relative(config_set_find(set, "one")->identity);
        assert_string_equal(identity, cases[i].identity);
    }
}

/* --- wherry.yaml --- */

static void test_daemon_settings(void **state)
{
    _cleanup_(config_set_freep) ConfigSet *bare = load_all(NULL);
    assert_true(bare->daemon.max_syncs >= 2);
    assert_int_equal(bare->daemon.max_syncs % 2, 0);
    assert_int_equal(bare->daemon.log_level, LOG_INFO);
    write_text("etc/wherry.yaml", "max_syncs: 3\nlog_level: error\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    assert_int_equal(set->daemon.max_syncs, 3);
    assert_int_equal(set->daemon.log_level, LOG_ERR);
}

static void test_named_destination(void **state)
{
    write_text("etc/wherry.yaml", "destinations:\n  main: {type: sqlite, path: main.db, busy_timeout: 5s}\n");
    write_text("etc/pipelines.d/one.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: main\n");
    write_text("etc/pipelines.d/two.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "connector: main\n");
    write_text("etc/pipelines.d/zero.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: lake\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "zero.yaml:6:14: wherry.yaml has no destination \"lake\"; add it under \"destinations\", or write "
                     "{type: sqlite, …} here");
    json_t *json = json_of(set, "two");
    _cleanup_(freep) char *dump = json_dumps(json_object_get(json, "destination"), JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *text = relative(dump);
    assert_string_equal(text, "{\"busy_timeout\":5,\"path\":\"@/etc/main.db\",\"type\":\"sqlite\"}");
    json_decref(json);
    write_text("etc/pipelines.d/zero.yaml", FREQUENCY SOURCE FORMAT TABLE COLUMNS "destination: maim\n");
    _cleanup_(config_set_freep) ConfigSet *again = load_all(NULL);
    expect_said(again, "zero.yaml:6:14: wherry.yaml has no destination \"maim\"; did you mean \"main\"?");
}

/* The file's own key wins whole; a default that belongs to another kind of connection is nobody's mistake. */
static void test_defaults(void **state)
{
    write_text("etc/wherry.yaml", "defaults:\n"
                                  "  frequency: 1h\n"
                                  "  paused: true\n"
                                  "  csv: {delimiter: \";\", header: false}\n"
                                  "  connector: {type: sqlite, path: shared.db}\n");
    write_text("etc/pipelines.d/one.yaml", SOURCE FORMAT TABLE COLUMNS "csv: {quote: \"'\"}\npaused: false\n");
    write_text("etc/pipelines.d/two.yaml",
               SOURCE TABLE COLUMNS "format: ndjson\ndestination: {type: sqlite, path: a.db}\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    json_t *one = json_of(set, "one"), *two = json_of(set, "two");
    assert_int_equal(json_integer_value(json_object_get(one, "frequency")), 3600);
    assert_true(json_is_false(json_object_get(one, "paused")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(one, "csv"), "delimiter")), ",");
    assert_true(json_is_true(json_object_get(two, "paused")));
    assert_null(json_object_get(two, "csv"));
    _cleanup_(freep) char *shared = relative(config_set_find(set, "one")->identity);
    _cleanup_(freep) char *own = relative(config_set_find(set, "two")->identity);
    assert_string_equal(shared, "sqlite:@/etc/shared.db");
    assert_string_equal(own, "sqlite:@/etc/pipelines.d/a.db");
    json_decref(one);
    json_decref(two);
}

static void test_bad_daemon_file(void **state)
{
    static const struct {
        const char *file, *said;
    } cases[] = {
        { "max_sync: 3\n", "wherry.yaml:1:1: unknown key \"max_sync\"; did you mean \"max_syncs\"?" },
        { "max_syncs: 0\n", "wherry.yaml:1:12: \"max_syncs\" must be a whole number from 1 to 10000, not \"0\"" },
        { "log_level: loud\n",
          "wherry.yaml:1:12: \"log_level\" must be debug, info, notice, warning or error, not \"loud\"" },
        { "- a\n", "wherry.yaml:1:1: wherry.yaml is a map of keys, such as \"max_syncs: 4\"" },
        { "a: [\n", "wherry.yaml:2:1: not valid YAML: flow sequence without a closing bracket" },
        { "defaults: 3\n", "wherry.yaml:1:11: \"defaults\" must be a map of keys, such as \"frequency: 1h\"" },
        { "defaults: {frequncy: 1h, paused: 3}\n",
          "wherry.yaml:1:12: unknown key \"frequncy\"; did you mean \"frequency\"?\n"
          "wherry.yaml:1:34: \"paused\" must be true or false, not \"3\"" },
        { "destinations: [a]\n",
          "wherry.yaml:1:15: \"destinations\" must be a map of names, such as \"main: {type: sqlite, …}\"" },
        { "destinations: {Main: {type: sqlite, path: a.db}}\n",
          "wherry.yaml:1:16: \"Main\" cannot name a destination: use a-z, 0-9 and _, beginning with a letter or _" },
        { "destinations: {main: {type: sqlite}, other: {type: sqlit}}\n",
          "wherry.yaml:1:22: missing key \"url\": the database, such as sqlite:////var/lib/wherry/data.db\n"
          "wherry.yaml:1:52: unknown destination type \"sqlit\"; did you mean \"sqlite\"?" },
        { "destinations: {main: {type: sqlite, path: ../state/daemon/a.db}}\n",
          "wherry.yaml:1:43: \"@/etc/../state/daemon/a.db\" lies in wherry's own folder \"@/state/daemon\"; put the "
          "database elsewhere" },
    };
    write_text("etc/pipelines.d/one.yaml", ALL);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        write_text("etc/wherry.yaml", cases[i].file);
        expect_failure(cases[i].said);
    }
    assert_int_equal(unlink("etc/wherry.yaml"), 0);
    assert_int_equal(symlink("nothing", "etc/wherry.yaml"), 0);
    expect_failure("wherry.yaml: a symbolic link to nothing; mend or remove it");
}

static void test_folders(void **state)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(config_load("nowhere", NULL, NULL, &set, &error), -1);
    _cleanup_(freep) char *said = relative(error.message);
    assert_string_equal(said, "cannot read the configuration folder \"@/nowhere\" (see --config-dir): no such file or "
                              "directory");
    assert_int_equal(rmdir("etc/pipelines.d"), 0);
    _cleanup_(config_set_freep) ConfigSet *empty = load_all(NULL);
    expect_said(empty, "@/etc/pipelines.d: warning: no such folder: pipeline files belong there");
}

/* --- names of files --- */

static void test_file_names(void **state)
{
    static const char *const ignored[] = { ".hidden.yaml", "a.yaml~",       "a.yaml.bak", "#a.yaml#",
                                           ".a.yaml.swp",  "a.yaml.rpmnew", "a.disabled", "a.yaml.dpkg-dist" };
    for (size_t i = 0; i < ELEMENTSOF(ignored); i++) {
        _cleanup_(freep) char *path = xasprintf("etc/pipelines.d/%s", ignored[i]);
        write_text(path, "bad: [\n");
    }
    write_text("etc/pipelines.d/good.yaml", ALL);
    write_text("etc/pipelines.d/Orders.yaml", ALL);
    write_text("etc/pipelines.d/2nd.yaml", ALL);
    write_text("etc/pipelines.d/a-b.yaml", ALL);
    write_text("etc/pipelines.d/a\nb.yaml", ALL);
    write_text("etc/pipelines.d/b.YAML", ALL);
    write_text("etc/pipelines.d/c.yml", ALL);
    write_text("etc/pipelines.d/README", "see the manual");
    mkdir("etc/pipelines.d/folder.yaml", 0700);
    assert_int_equal(mkfifo("etc/pipelines.d/pipe.yaml", 0600), 0);
    assert_int_equal(symlink("nothing", "etc/pipelines.d/dangling.yaml"), 0);
    assert_int_equal(symlink("loop.yaml", "etc/pipelines.d/loop.yaml"), 0);
    write_text("linked", ALL);
    assert_int_equal(symlink("../../linked", "etc/pipelines.d/linked.yaml"), 0);
    static const char rule[] = "cannot name a connection; rename it: a-z, 0-9 and _, beginning with a letter or _, at "
                               "most 63, then .yaml";
    _cleanup_(freep) char *expected = xasprintf("2nd.yaml: %s\nOrders.yaml: %s\na\\x0Ab.yaml: %s\na-b.yaml: %s\n"
                                                "b.YAML: must end in .yaml; rename it to \"b.yaml\"\n"
                                                "c.yml: must end in .yaml; rename it to \"c.yaml\"\n"
                                                "dangling.yaml: a symbolic link to nothing; mend or remove it\n"
                                                "folder.yaml: a folder, not a file\n"
                                                "loop.yaml: cannot be read: too many levels of symbolic links\n"
                                                "pipe.yaml: a pipe, socket or device, not a file\n"
                                                "README: warning: ignored: a pipeline file is called NAME.yaml",
                                                rule, rule, rule, rule);
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, expected);
    assert_int_equal(set->connection_count, 2);
    assert_string_equal(set->connections[0]->name, "good");
    assert_string_equal(set->connections[1]->name, "linked");
    assert_string_equal(set->problems[0].name, "2nd");
    assert_string_equal(set->problems[2].name, "a\\x0Ab");
}

static void test_one_file(void **state)
{
    static const struct {
        const char *file, *name;
    } cases[] = { { "orders.yaml", "orders" },
                  { "My-Orders.v2.yml", "my_orders_v2" },
                  { "2024.yaml", "_2024" },
                  { "plain", "plain" } };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        write_text(cases[i].file, ALL);
        _cleanup_(config_set_freep) ConfigSet *set = load_file(cases[i].file, NULL);
        expect_said(set, "");
        _cleanup_(freep) char *path = relative(set->connections[0]->path), *json = relative(set->connections[0]->json);
        _cleanup_(freep) char *expected = xasprintf("@/%s", cases[i].file);
        assert_string_equal(set->connections[0]->name, cases[i].name);
        assert_string_equal(path, expected);
        assert_non_null(strstr(json, "\"dir\":\"@/in\""));
    }
    _cleanup_(config_set_freep) ConfigSet *missing = load_file("missing.yaml", NULL);
    expect_said(missing, "missing.yaml: cannot be read: no such file or directory");
}

static void test_lent_dir(void **state)
{
    write_text("filedge.yaml", FORMAT TABLE COLUMNS "connector: {type: sqlite, url: \"sqlite:///x.db\"}\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_file("filedge.yaml", "incoming");
    expect_said(set, "");
    _cleanup_(freep) char *json = relative(set->connections[0]->json);
    assert_non_null(strstr(json, "\"dir\":\"@/incoming\""));
    _cleanup_(config_set_freep) ConfigSet *without = load_file("filedge.yaml", NULL);
    expect_said(without, "filedge.yaml:1:1: missing key \"source\"; name the folder with \"wherryctl run FILE --dir "
                         "DIR\", or add these two lines, with the folder to read:\n"
                         "source:\n  {type: files, dir: /srv/incoming}");
    /* the two lines it shows are right */
    const char *lines = strstr(without->problems[0].message, "source:\n");
    _cleanup_(freep) char *mended = xasprintf(FORMAT TABLE COLUMNS DESTINATION "%s\n", lines);
    write_text("mended.yaml", mended);
    _cleanup_(config_set_freep) ConfigSet *good = load_file("mended.yaml", NULL);
    expect_said(good, "");
    write_text("own.yaml", ALL);
    _cleanup_(config_set_freep) ConfigSet *own = load_file("own.yaml", "incoming");
    expect_said(own, "own.yaml:2:9: this file has a \"source\" of its own; leave out --dir");
}

/* Enough files for several threads: nothing is lost, nothing is mixed up, all is in order. */
static void test_many_files(void **state)
{
    enum { FILES = 1000 };
    write_text("etc/wherry.yaml",
               "destinations: {main: {type: sqlite, path: main.db}}\ndefaults: {destination: main}\n");
    for (int i = 0; i < FILES; i++) {
        _cleanup_(freep) char *path = xasprintf("etc/pipelines.d/c%04d.yaml", i);
        _cleanup_(freep) char *file =
            xasprintf(SOURCE FORMAT COLUMNS "dest_table: %s%d\n%s", i % 10 == 3 ? "_wherry_" : "t", i,
                      i % 10 == 5 ? "batch_size: 1\n" : "");
        write_text(path, file);
    }
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    assert_int_equal(set->connection_count, FILES - FILES / 10);
    assert_int_equal(set->problem_count, FILES / 10);
    assert_int_equal(set->warning_count, FILES / 10);
    for (int i = 0; i < FILES; i++) {
        char name[16], table[32];
        snprintf(name, sizeof(name), "c%04d", i);
        snprintf(table, sizeof(table), "\"dest_table\":\"t%d\"", i);
        const ConnectionConfig *config = config_set_find(set, name);
        assert_true((config == NULL) == (i % 10 == 3));
        if (config)
            assert_non_null(strstr(config->json, table));
        if (config)
            assert_true((config->warnings != NULL) == (i % 10 == 5));
        if (i % 10 == 3)
            assert_string_equal(set->problems[i / 10].name, name);
        if (i % 10 == 5)
            assert_true(strncmp(set->warnings[i / 10], name, strlen(name)) == 0);
    }
}

/* --- check --- */

static void expect_checked(const char *const *files, size_t n, int status, const char *expected)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int r = config_check("etc", "state", files, n, out);
    fclose(out);
    _cleanup_(freep) char *said = relative(text);
    free(text);
    assert_string_equal(said, expected);
    assert_int_equal(r, status);
}

static void test_check(void **state)
{
    expect_checked(NULL, 0, 0, "0 connections\n");
    write_text("etc/pipelines.d/one.yaml", ALL);
    expect_checked(NULL, 0, 0, "1 connection, all good\n");
    write_text("etc/pipelines.d/two.yaml", ALL "batch_size: 1\n");
    expect_checked(NULL, 0, 0,
                   "two.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction\n"
                   "2 connections, all good, 1 warning\n");
    write_text("etc/pipelines.d/six.yaml", ALL "zzzz\n");
    expect_checked(NULL, 0, 2,
                   "six.yaml:7:1: not valid YAML: invalid value after mapping\n"
                   "two.yaml:7:1: warning: \"batch_size\" has no effect: each file is one transaction\n"
                   "3 connections, 2 good, 1 broken, 1 warning\n");
    expect_checked((const char *const[]){ "etc/pipelines.d/one.yaml", "etc/pipelines.d/six.yaml" }, 2, 2,
                   "etc/pipelines.d/six.yaml:7:1: not valid YAML: invalid value after mapping\n"
                   "2 connections, 1 good, 1 broken\n");
    write_text("My.yml", ALL);
    expect_checked((const char *const[]){ "My.yml" }, 1, 0,
                   "My.yml: warning: in pipelines.d the file must be called NAME.yaml, NAME of a-z, 0-9 and _\n"
                   "1 connection, all good, 1 warning\n");
    write_text("etc/wherry.yaml", "max_syncs: many\n");
    expect_checked(NULL, 0, 2,
                   "wherry.yaml:1:12: \"max_syncs\" must be a whole number from 1 to 10000, not \"many\"\n");
}

/* --- what lies in etc/ --- */

static void test_schema_is_current(void **state)
{
    json_t *stored = json_load_file(ETC_DIR "/pipeline.schema.json", 0, NULL), *made = config_schema();
    assert_non_null(stored);
    if (!json_equal(stored, made))
        fail_msg("etc/pipeline.schema.json is not what the key tables say: "
                 "run \"wherryd --schema >etc/pipeline.schema.json\"");
    json_decref(stored);
    json_decref(made);
}

static void test_examples(void **state)
{
    ConfigSet *set = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(config_load(ETC_DIR, "state", NULL, &set, &error), 0);
    expect_said(set, "");
    assert_true(set->connection_count >= 3);
    config_set_free(set);
}

/* The comments of etc/wherry.yaml show the defaults that are built in. */
static void test_example_defaults(void **state)
{
    FILE *example = fopen(ETC_DIR "/wherry.yaml", "re"), *active = fopen("etc/wherry.yaml", "we");
    assert_non_null(example);
    assert_non_null(active);
    char line[256];
    while (fgets(line, sizeof(line), example)) {
        bool setting = line[0] == '#' && ((line[1] >= 'a' && line[1] <= 'z') || strncmp(line + 1, "  ", 2) == 0);
        fputs(line + setting, active);
    }
    fclose(example);
    fclose(active);
    write_text("etc/pipelines.d/one.yaml", SOURCE FORMAT TABLE COLUMNS "destination: warehouse\n");
    _cleanup_(config_set_freep) ConfigSet *shown = load_all(NULL);
    expect_said(shown, "");
    assert_int_equal(json_object_size(shown->daemon.defaults), 11);
    assert_int_equal(unlink("etc/wherry.yaml"), 0);
    write_text("etc/pipelines.d/one.yaml",
               SOURCE FORMAT TABLE COLUMNS "destination: {type: sqlite, path: "
                                           "/var/lib/wherry/warehouse.db, journal_mode: wal}\n");
    _cleanup_(config_set_freep) ConfigSet *built_in = load_all(NULL);
    expect_said(built_in, "");
    json_t *a = json_of(shown, "one"), *b = json_of(built_in, "one");
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_pipelines(test_whole_form),
        in_pipelines(test_values),
        in_pipelines(test_harmless_keys_warn),
        in_pipelines(test_identity),
        in_pipelines(test_daemon_settings),
        in_pipelines(test_named_destination),
        in_pipelines(test_defaults),
        in_pipelines(test_bad_daemon_file),
        in_pipelines(test_folders),
        in_pipelines(test_file_names),
        in_pipelines(test_one_file),
        in_pipelines(test_lent_dir),
        in_pipelines(test_many_files),
        in_pipelines(test_check),
        in_pipelines(test_schema_is_current),
        in_pipelines(test_examples),
        in_pipelines(test_example_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
