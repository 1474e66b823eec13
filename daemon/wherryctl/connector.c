/*
 * The commands for a connector's project that touch nothing but its folder: init, package, reset. Names and texts are
 * those that people know from Fivetran's own command.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/commands.h"
#include "daemon/wherryctl/print.h"
#include "daemon/wherryctl/project.h"
#include "daemon/wherryctl/question.h"
#include "daemon/wherryctl/zip.h"
#include "lib/basics/buffer.h"
#include "lib/basics/file.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"

#define RESET_QUESTION "This deletes the state and the tables that \"wherryctl debug\" made in \"%s\". Go on?"

/* --- init --- */

static const char hello_connector[] =
    "\"\"\"Says hello. `wherryctl debug` runs it here, `wherryctl deploy --connection NAME` on schedule.\"\"\"\n"
    "\n"
    "from fivetran_connector_sdk import Connector\n"
    "from fivetran_connector_sdk import Logging as log\n"
    "from fivetran_connector_sdk import Operations as op\n"
    "\n"
    "\n"
    "def schema(configuration: dict):\n"
    "    \"\"\"The tables, as far as they are known: names, keys, and types where they should not be inferred.\"\"\"\n"
    "    return [{\"table\": \"hello\", \"primary_key\": [\"id\"]}]\n"
    "\n"
    "\n"
    "def update(configuration: dict, state: dict):\n"
    "    \"\"\"One sync: hands rows over, and says with checkpoint() how far it came.\"\"\"\n"
    "    log.info(\"saying hello\")\n"
    "    op.upsert(table=\"hello\", data={\"id\": 1, \"message\": \"hello, world!\"})\n"
    "    op.checkpoint(state=state)\n"
    "\n"
    "\n"
    "connector = Connector(update=update, schema=schema)\n";

static const char cursor_connector[] =
    "\"\"\"Loads what is new since the last sync, page by page. `wherryctl debug` runs it here.\"\"\"\n"
    "\n"
    "import requests\n"
    "from fivetran_connector_sdk import Connector\n"
    "from fivetran_connector_sdk import Logging as log\n"
    "from fivetran_connector_sdk import Operations as op\n"
    "\n"
    "\n"
    "def schema(configuration: dict):\n"
    "    return [{\"table\": \"item\", \"primary_key\": [\"id\"], \"columns\": {\"updated_at\": \"UTC_DATETIME\"}}]\n"
    "\n"
    "\n"
    "def update(configuration: dict, state: dict):\n"
    "    cursor = state.get(\"cursor\", \"1970-01-01T00:00:00Z\")\n"
    "    page = 1\n"
    "    while True:\n"
    "        parameters = {\"updated_since\": cursor, \"page\": page}\n"
    "        answer = requests.get(configuration[\"url\"], params=parameters, timeout=60)\n"
    "        answer.raise_for_status()\n"
    "        items = answer.json()\n"
    "        if not items:\n"
    "            break\n"
    "        for item in items:\n"
    "            op.upsert(table=\"item\", data=item)\n"
    "            state[\"cursor\"] = max(state.get(\"cursor\", cursor), item[\"updated_at\"])\n"
    "        op.checkpoint(state=state)\n"
    "        log.info(f\"page {page}: {len(items)} items\")\n"
    "        page += 1\n"
    "\n"
    "\n"
    "connector = Connector(update=update, schema=schema)\n";

static const char ignored[] = "# what must not be shared, nor deployed\n"
                              "configuration.json\n"
                              "files/\n"
                              "__pycache__/\n"
                              ".venv/\n"
                              "venv/\n";

static const char requirements[] =
    "# One package a line. requests and fivetran_connector_sdk are there without being named.\n";

typedef struct Template {
    const char *name, *connector, *configuration;
} Template;

static const Template templates[] = {
    { "hello", hello_connector, "{}\n" },
    { "cursor", cursor_connector, "{\n  \"url\": \"https://example.org/items\"\n}\n" },
};

static const Template *find_template(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(templates); i++)
        if (!name || strcmp(templates[i].name, name) == 0)
            return &templates[i];
    return NULL;
}

/* Writes a file that is not there yet; one that is stays, unless it is to be written ANEW. */
static int put(const char *folder, const char *name, const char *text, mode_t mode, bool anew, Error *error)
{
    _cleanup_(freep) char *path = path_join(folder, name);
    _cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CREAT | (anew ? O_TRUNC : O_EXCL) | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd >= 0 && file_write_all(fd, text, strlen(text)) == 0) {
        printf("  %s\n", name);
        return 0;
    }
    return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be written", path);
}

int command_init(const Options *options, char *const *arguments, size_t count)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *folder = count > 0 ? arguments[0] : ".";
    const Template *template = find_template(options->template_name);
    _cleanup_(freep) char *connector = path_join(folder, "connector.py");
    if (!template) {
        fprintf(stderr, "wherryctl: there is no template \"%s\"; there are \"hello\" and \"cursor\"\n",
                options->template_name);
        return EXIT_WRONG_USE;
    }
    bool anew = options->given & OPTION_YES;
    if (!anew && access(connector, F_OK) == 0) {
        fprintf(stderr, "wherryctl: \"%s\" is there already; nothing was changed (--force writes it anew)\n",
                connector);
        return EXIT_WRONG_USE;
    }
    if (paths_make(folder, 0777, &error) < 0)
        return say_error(EXIT_WRONG_USE, &error);
    if (put(folder, "connector.py", template->connector, 0666, anew, &error) < 0 ||
        put(folder, "requirements.txt", requirements, 0666, false, &error) < 0 ||
        put(folder, "configuration.json", template->configuration, 0600, false, &error) < 0 ||
        put(folder, ".gitignore", ignored, 0666, false, &error) < 0)
        return say_error(EXIT_FAILED, &error);
    _cleanup_(freep) char *word = text_shell_word(folder);
    printf("run it with \"wherryctl debug%s%s\"\n", count > 0 ? " " : "", count > 0 ? word : "");
    return EXIT_DONE;
}

/* --- package --- */

static int pack(const Project *project, FILE *file, Error *error)
{
    Zip zip = { .file = file };
    int r = 0;
    for (size_t i = 0; r == 0 && i < project->count; i++) {
        const ProjectFile *one = &project->files[i];
        _cleanup_(close_fdp) int fd = project_open_file(project, one, error);
        r = fd < 0 ? -1 : zip_add(&zip, one->path, fd, one->executable, error);
    }
    zip_finish(&zip);
    return r;
}

int command_package(const Options *options, char *const *arguments, size_t count)
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(project_clear) Project project = { 0 };
    char bytes[VALUE_TEXT_SIZE];
    if (project_open(count > 0 ? arguments[0] : NULL, &project, &error) < 0)
        return say_error(EXIT_WRONG_USE, &error);
    _cleanup_(freep) char *files = path_join(project.folder, "files");
    _cleanup_(freep) char *path = path_join(files, "code.zip");
    _cleanup_(freep) char *temporary = path_join(files, ".code.zip");
    if (project_list(&project, NULL, &error) < 0)
        return say_error(EXIT_WRONG_USE, &error);
    if (paths_make(files, 0777, &error) < 0)
        return say_error(EXIT_FAILED, &error);
    FILE *file = fopen(temporary, "we");
    int r = file ? pack(&project, file, &error) : 0;
    bool bad = !file || ferror(file) || fflush(file) != 0;
    int errnum = errno;
    if (file)
        fclose(file);
    if (r == 0 && !bad && rename(temporary, path) < 0) {
        errnum = errno;
        bad = true;
    }
    if (r == 0 && bad)
        r = error_set_errno(&error, ERROR_TEMPORARY, errnum, "\"%s\" cannot be written", path);
    if (r < 0) {
        unlink(temporary);
        return say_error(EXIT_FAILED, &error);
    }
    for (size_t i = 0; i < project.count; i++)
        printf("  %s\n", project.files[i].path);
    printf("packed %zu file%s, %s: %s\n", project.count, project.count == 1 ? "" : "s",
           print_bytes((int64_t)project.bytes, bytes), path);
    return EXIT_DONE;
}

/* --- reset --- */

int command_reset(const Options *options, char *const *arguments, size_t count)
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(project_clear) Project project = { 0 };
    if (project_open(count > 0 ? arguments[0] : NULL, &project, &error) < 0)
        return say_error(EXIT_WRONG_USE, &error);
    _cleanup_(freep) char *files = path_join(project.folder, "files");
    _cleanup_(freep) char *question = xasprintf(RESET_QUESTION, files);
    int status = ask(options, question, false);
    if (status != 0)
        return status;
    path_remove_tree(AT_FDCWD, files);
    if (access(files, F_OK) == 0) {
        fprintf(stderr, "wherryctl: \"%s\" cannot be removed\n", files);
        return EXIT_FAILED;
    }
    puts("reset successful");
    return EXIT_DONE;
}
