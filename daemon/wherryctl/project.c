/*
 * Links are followed as long as they lead to files of the project: a deployed project has none, and nothing from
 * outside comes along unseen.
 */
#include "daemon/wherryctl/project.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/wherryctl/ignore.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/formats/configuration.h"
#include "lib/formats/encrypted-configuration.h"

#define DEPTH_MAX 40
#define CONFIGURATION_FILE_MAX (1u << 20)
#define IGNORE_FILE_MAX (1u << 20)

void project_clear(Project *project)
{
    for (size_t i = 0; i < project->count; i++)
        free(project->files[i].path);
    free(project->files);
    free(project->folder);
    *project = (Project){ 0 };
}

int project_open(const char *folder, Project *ret, Error *error)
{
    struct stat status;
    folder = folder ? folder : ".";
    _cleanup_(freep) char *real = realpath(folder, NULL);
    _cleanup_(freep) char *connector = path_join(real ? real : folder, "connector.py");
    if (!real)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the project \"%s\" cannot be read", folder);
    if (stat(connector, &status) < 0 && errno == ENOENT)
        return error_set(error, ERROR_CONFIGURATION,
                         "there is no connector.py in \"%s\"; go to the project's folder or name it, or make a new one "
                         "with \"wherryctl init\"",
                         real);
    if (access(connector, R_OK) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", connector);
    *ret = (Project){ .folder = take_ptr(real) };
    return 0;
}

/* --- listing --- */

typedef struct Walk {
    Project *project;
    Ignore *ignore;
    const char *configuration; /* absolute, links resolved; NULL: none */
} Walk;

static int add_file(Walk *walk, const char *path, const struct stat *status, Error *error)
{
    Project *project = walk->project;
    project->bytes += (uint64_t)status->st_size;
    if (project->bytes > PROJECT_BYTES_MAX || project->count >= PROJECT_FILES_MAX)
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s\" is larger than %llu MiB or has more than %d files, \"%s\" last; leave out with "
                         ".gitignore what the connector does not need",
                         project->folder, (unsigned long long)(PROJECT_BYTES_MAX >> 20), PROJECT_FILES_MAX, path);
    if ((project->count & (project->count - 1)) == 0)
        project->files = xrealloc(project->files, MAX_OF(2 * project->count, (size_t)1) * sizeof(ProjectFile));
    project->files[project->count++] =
        (ProjectFile){ .path = xstrdup(path), .size = (uint64_t)status->st_size, .executable = status->st_mode & 0111 };
    return 0;
}

static int check_link(const Walk *walk, const char *full, const char *path, const struct stat *status, Error *error)
{
    _cleanup_(freep) char *real = realpath(full, NULL);
    if (!real)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is a symbolic link to nothing; remove it", path);
    if (!path_is_below(real, walk->project->folder))
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s\" is a symbolic link out of the project, to \"%s\"; put the file itself there, or leave "
                         "the link out with .gitignore",
                         path, real);
    if (S_ISDIR(status->st_mode))
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s\" is a symbolic link to a folder; put the folder itself there, or leave the link out "
                         "with .gitignore",
                         path);
    return 0;
}

/* Never packed, whatever .gitignore says. */
static bool is_left_out(const Walk *walk, const char *path, const char *name, const char *full, bool folder)
{
    if (name[0] == '.' || strcmp(path, "configuration.json") == 0)
        return true;
    if (folder) {
        _cleanup_(freep) char *environment = path_join(full, "pyvenv.cfg");
        return strcmp(path, "files") == 0 || strcmp(name, "__pycache__") == 0 || access(environment, F_OK) == 0;
    }
    if (!walk->configuration)
        return false;
    _cleanup_(freep) char *real = realpath(full, NULL);
    return real && strcmp(real, walk->configuration) == 0;
}

static int walk_folder(Walk *walk, const char *below, unsigned depth, Error *error);

static int walk_entry(Walk *walk, const char *below, const char *name, unsigned depth, Error *error)
{
    struct stat status, link;
    _cleanup_(freep) char *path = *below ? path_join(below, name) : xstrdup(name);
    _cleanup_(freep) char *full = path_join(walk->project->folder, path);
    if (lstat(full, &link) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", path);
    if (stat(full, &status) < 0)
        status = link;
    bool folder = S_ISDIR(status.st_mode);
    if (is_left_out(walk, path, name, full, folder) || (walk->ignore && ignore_matches(walk->ignore, path, folder)))
        return 0;
    if (S_ISLNK(link.st_mode) && check_link(walk, full, path, &status, error) < 0)
        return -1;
    if (utf8_valid_length(path, strlen(path)) != strlen(path)) {
        _cleanup_(freep) char *printable = text_escape(path, strlen(path));
        return error_set(error, ERROR_CONFIGURATION, "the name of \"%s\" is not UTF-8; rename it", printable);
    }
    if (folder)
        return walk_folder(walk, path, depth + 1, error);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is neither a file nor a folder; remove it", path);
    return add_file(walk, path, &status, error);
}

static int walk_folder(Walk *walk, const char *below, unsigned depth, Error *error)
{
    _cleanup_(freep) char *full = *below ? path_join(walk->project->folder, below) : xstrdup(walk->project->folder);
    if (depth > DEPTH_MAX)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" lies more than %d folders deep", below, DEPTH_MAX);
    DIR *stream = opendir(full);
    if (!stream)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the folder \"%s\" cannot be read", full);
    int r = 0;
    for (const struct dirent *entry; r == 0 && (entry = readdir(stream));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = walk_entry(walk, below, entry->d_name, depth, error);
    closedir(stream);
    return r;
}

/* PATH's text, at most MOST bytes; NULL and errno. */
static char *read_text(const char *path, size_t most)
{
    _cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    Buffer content = { 0 };
    for (ssize_t n = fd; n >= 0 && buffer_length(&content) <= most;) {
        n = read(fd, buffer_reserve(&content, 65536), 65536);
        if (n == 0)
            return buffer_take_string(&content);
        if (n > 0)
            buffer_added(&content, (size_t)n);
    }
    int errnum = fd >= 0 && buffer_length(&content) > most ? EFBIG : errno;
    buffer_clear(&content);
    errno = errnum;
    return NULL;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const ProjectFile *)a)->path, ((const ProjectFile *)b)->path);
}

int project_list(Project *project, const char *configuration, Error *error)
{
    _cleanup_(freep) char *ignored = path_join(project->folder, ".gitignore");
    _cleanup_(freep) char *rules = read_text(ignored, IGNORE_FILE_MAX);
    if (!rules && errno != ENOENT)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", ignored);
    _cleanup_(freep) char *real = configuration ? realpath(configuration, NULL) : NULL;
    Walk walk = { .project = project, .ignore = rules ? ignore_new(rules) : NULL, .configuration = real };
    int r = walk_folder(&walk, "", 0, error);
    ignore_free(walk.ignore);
    if (r < 0)
        return r;
    if (project->count > 1)
        qsort(project->files, project->count, sizeof(ProjectFile), compare_files);
    for (size_t i = 0; i < project->count; i++)
        if (strcmp(project->files[i].path, "connector.py") == 0)
            return 0;
    return error_set(error, ERROR_CONFIGURATION, ".gitignore leaves out connector.py itself");
}

int project_open_file(const Project *project, const ProjectFile *file, Error *error)
{
    _cleanup_(freep) char *path = path_join(project->folder, file->path);
    _cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", file->path);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != file->size)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" was changed meanwhile: try again", file->path);
    return take_fd(&fd);
}

/* --- configuration --- */

/* jansson's own words quote the text that it stumbled over: they are not passed on. */
int project_read_configuration(const char *path, json_t **ret, bool *ret_readable, Error *error)
{
    struct stat status;
    json_error_t problem;
    _cleanup_(freep) char *printable = text_escape_shortened(path, strlen(path), 300);
    char *text = read_text(path, CONFIGURATION_FILE_MAX);
    if (!text)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the configuration \"%s\" cannot be read", printable);
    *ret_readable = stat(path, &status) == 0 && (status.st_mode & S_IROTH);
    json_t *configuration = json_loads(text + strspn(text, "\xef\xbb\xbf"), JSON_REJECT_DUPLICATES, &problem);
    explicit_bzero(text, strlen(text));
    free(text);
    if (!configuration) {
        bool twice = json_error_code(&problem) == json_error_duplicate_key;
        return error_set(error, ERROR_CONFIGURATION, "%s:%d:%d: %s", printable, problem.line, problem.column,
                         twice ? "a key stands there twice" : "invalid configuration; this is not JSON");
    }
    if ((json_is_object(configuration) && configuration_decrypt(configuration, error) < 0) ||
        configuration_check(configuration, error) < 0) {
        json_decref(configuration);
        return error_prefix(error, "%s: ", printable);
    }
    *ret = configuration;
    return 0;
}

char *project_find_file(const Project *project, const char *path)
{
    char *real = realpath(path, NULL);
    if (real)
        return real;
    char *inside = path_join(project->folder, path);
    if (access(inside, F_OK) == 0)
        return inside;
    free(inside);
    return xstrdup(path);
}

int project_naming(const char *given, const char **ret, Error *error)
{
    static const char *const words[][2] = { { "FIVETRAN", "normalised" },
                                            { "SOURCE", "source" },
                                            { "FIVETRAN_NAMING", "normalised" },
                                            { "SOURCE_NAMING", "source" },
                                            { "normalised", "normalised" } };
    *ret = NULL;
    if (!given || !*given)
        return 0;
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strcasecmp(given, words[i][0]) == 0) {
            *ret = words[i][1];
            return 0;
        }
    _cleanup_(freep) char *printable = text_escape_shortened(given, strlen(given), 100);
    return error_set(error, ERROR_CONFIGURATION,
                     "\"--naming %s\" is neither FIVETRAN (names are normalised) nor SOURCE (names stay)", printable);
}
