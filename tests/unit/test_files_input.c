/* What stands between a file and its reader: unpacking, decoding, listing a folder, and the proof that a file stood
 * still. */
#include "tests/unit/files-reading.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include "connectors/sources/files/charset.h"
#include "connectors/sources/files/file.h"
#include "connectors/sources/files/folder.h"
#include "connectors/sources/files/unpack.h"
#include "lib/basics/path.h"

/* --- unpacking --- */

static la_ssize_t gather(struct archive *archive, void *context, const void *data, size_t n)
{
    buffer_append(context, data, n);
    return (la_ssize_t)n;
}

/* DATA packed by libarchive's writer, which is not what unpacks gzip here. */
static void pack(Buffer *to, Compression compression, const char *data, size_t n)
{
    static const int filters[] = { [COMPRESSION_GZIP] = ARCHIVE_FILTER_GZIP,
                                   [COMPRESSION_ZSTD] = ARCHIVE_FILTER_ZSTD,
                                   [COMPRESSION_BZIP2] = ARCHIVE_FILTER_BZIP2,
                                   [COMPRESSION_XZ] = ARCHIVE_FILTER_XZ };
    struct archive *archive = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    assert_int_equal(archive_write_add_filter(archive, filters[compression]), ARCHIVE_OK);
    archive_write_set_format_raw(archive);
    archive_write_set_bytes_in_last_block(archive, 1);
    archive_write_open(archive, to, NULL, gather, NULL);
    archive_entry_set_pathname(entry, "x");
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_write_header(archive, entry);
    assert_int_equal(archive_write_data(archive, data, n), n);
    archive_write_close(archive);
    archive_write_free(archive);
    archive_entry_free(entry);
}

/* 0 and the unpacked bytes, or -1 and the error. */
static int unpack(Buffer *to, const char *name, const void *data, size_t n, size_t piece, Error *error)
{
    Compression compression;
    Pieces pieces = { .data = data, .n = n, .piece = piece };
    if (compression_detect(name, data, MIN_OF(n, (size_t)COMPRESSION_MAGIC_MAX), &compression, error) < 0)
        return -1;
    assert_int_not_equal(compression, COMPRESSION_NONE);
    Unpacker *unpacker = NULL;
    assert_int_equal(unpacker_new(&unpacker, (ByteStream){ pieces_read, &pieces }, compression, n, error), 0);
    ByteStream stream = unpacker_stream(unpacker);
    size_t got;
    int r;
    do {
        r = stream.read(stream.context, buffer_reserve(to, 1000), 1000, &got, error);
        if (r == 0)
            buffer_added(to, got);
    } while (r == 0 && got > 0);
    unpacker_free(unpacker);
    return r;
}

static const struct {
    Compression compression;
    const char *name;
} packings[] = { { COMPRESSION_GZIP, "x.csv.gz" },
                 { COMPRESSION_ZSTD, "x.csv.zst" },
                 { COMPRESSION_BZIP2, "x.csv.BZ2" },
                 { COMPRESSION_XZ, "x.csv.xz" } };

static void sample(Buffer *text)
{
    unsigned seed = 7;
    for (int i = 0; i < 40; i++)
        buffer_printf(text, "%d,%x\n", i, (unsigned)rand_r(&seed));
}

static void whole_archives_unpack(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(packings); i++)
        for (size_t piece = 0; piece < 20; piece += 7) {
            Buffer text = { 0 }, packed = { 0 }, out = { 0 };
            Error error = { 0 };
            sample(&text);
            pack(&packed, packings[i].compression, (const char *)buffer_bytes(&text), buffer_length(&text));
            /* Two joined are one, as the tools have it. */
            if (piece > 0) {
                pack(&packed, packings[i].compression, "more", 4);
                buffer_append_string(&text, "more");
            }
            assert_int_equal(
                unpack(&out, packings[i].name, buffer_bytes(&packed), buffer_length(&packed), piece, &error), 0);
            assert_int_equal(buffer_length(&out), buffer_length(&text));
            assert_memory_equal(buffer_bytes(&out), buffer_bytes(&text), buffer_length(&text));
            buffer_clear(&text);
            buffer_clear(&packed);
            buffer_clear(&out);
        }
}

static void no_part_of_an_archive_passes_for_the_whole(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(packings); i++) {
        Buffer text = { 0 }, packed = { 0 };
        sample(&text);
        pack(&packed, packings[i].compression, (const char *)buffer_bytes(&text), buffer_length(&text));
        for (size_t n = 0; n < buffer_length(&packed); n++) {
            Buffer out = { 0 };
            Error error = { 0 };
            assert_int_equal(unpack(&out, packings[i].name, buffer_bytes(&packed), n, 1000000, &error), -1);
            assert_int_equal(error.kind, ERROR_DATA);
            buffer_clear(&out);
            error_clear(&error);
        }
        buffer_append_string(&packed, "hello");
        Buffer out = { 0 };
        Error error = { 0 };
        assert_int_equal(unpack(&out, packings[i].name, buffer_bytes(&packed), buffer_length(&packed), 1000000, &error),
                         -1);
        assert_int_equal(error.kind, ERROR_DATA);
        error_clear(&error);
        buffer_clear(&out);
        buffer_clear(&text);
        buffer_clear(&packed);
    }
}

static void no_flipped_bit_becomes_data(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(packings); i++) {
        if (packings[i].compression == COMPRESSION_ZSTD)
            continue; /* its checksum is optional, and libarchive's writer makes none */
        Buffer text = { 0 }, packed = { 0 };
        sample(&text);
        pack(&packed, packings[i].compression, (const char *)buffer_bytes(&text), buffer_length(&text));
        for (size_t bit = 0; bit < buffer_length(&packed) * 8; bit += 3) {
            Buffer out = { 0 };
            Error error = { 0 };
            buffer_bytes(&packed)[bit / 8] ^= (uint8_t)(1u << bit % 8);
            /* Some bits mean nothing (a time in gzip's header): then the data is what it was. */
            if (unpack(&out, packings[i].name, buffer_bytes(&packed), buffer_length(&packed), 1000000, &error) == 0) {
                assert_int_equal(buffer_length(&out), buffer_length(&text));
                assert_memory_equal(buffer_bytes(&out), buffer_bytes(&text), buffer_length(&text));
            } else {
                assert_int_equal(error.kind, ERROR_DATA);
            }
            buffer_bytes(&packed)[bit / 8] ^= (uint8_t)(1u << bit % 8);
            buffer_clear(&out);
            error_clear(&error);
        }
        buffer_clear(&text);
        buffer_clear(&packed);
    }
}

static void packing_errors_are_said(void **state)
{
    static const struct {
        const char *name, *data;
        size_t n;
        const char *expected;
    } cases[] = {
        { "x.gz", "id,note\n", 8, "named \".gz\" but does not begin as gzip data does" },
        { "x.xz", "", 0, "named \".xz\" but does not begin as xz data does: the file is empty" },
        { "x.gz", "\x1f\x8b\x08\0\0\0\0\0\0\3", 10, "cannot be unpacked: the gzip data is cut short" },
        { "x.gz", "\x1f\x8b\x07\0\0\0\0\0\0\3", 10,
          "cannot be unpacked: the gzip data is damaged (unknown compression "
          "method)" },
        { "x.bz2", "BZxello", 7, "named \".bz2\" but does not begin as bzip2 data does" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Buffer out = { 0 };
        Error error = { 0 };
        assert_int_equal(unpack(&out, cases[i].name, cases[i].data, cases[i].n, 10, &error), -1);
        assert_string_equal(error.message, cases[i].expected);
        error_clear(&error);
        buffer_clear(&out);
    }
    Buffer packed = { 0 }, out = { 0 };
    Error error = { 0 };
    pack(&packed, COMPRESSION_GZIP, "a", 1);
    size_t whole = buffer_length(&packed);
    buffer_append(&packed, "\0\0\0", 3);
    assert_int_equal(unpack(&out, "x.gz", buffer_bytes(&packed), buffer_length(&packed), 7, &error), 0);
    assert_int_equal(buffer_length(&out), 1);
    buffer_append_string(&packed, "\x1f");
    assert_int_equal(unpack(&out, "x.gz", buffer_bytes(&packed), buffer_length(&packed), 7, &error), -1);
    assert_string_equal(error.message, "other bytes follow the packed data: is the file damaged?");
    error_clear(&error);
    packed.end = whole;
    buffer_append_string(&packed, "x");
    assert_int_equal(unpack(&out, "x.gz", buffer_bytes(&packed), buffer_length(&packed), 7, &error), -1);
    assert_string_equal(error.message, "other bytes follow the packed data: is the file damaged?");
    error_clear(&error);
    buffer_clear(&packed);
    buffer_clear(&out);

    Compression compression;
    assert_int_equal(compression_detect("x.csv", "\x1f\x8b\x08", 3, &compression, NULL), 0);
    assert_int_equal(compression, COMPRESSION_GZIP);
    assert_int_equal(compression_detect("x.csv", "BZh91A", 6, &compression, NULL), 0);
    assert_int_equal(compression, COMPRESSION_NONE); /* that may be a header */
    assert_int_equal(compression_detect(".gz", "a,b", 3, &compression, NULL), 0);
    assert_int_equal(compression, COMPRESSION_NONE);
}

/* The same small member over and over: a bomb as large as you like. */
typedef struct Repeat {
    const Buffer *member;
    size_t times, at;
} Repeat;

static int repeat_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    Repeat *repeat = context;
    size_t length = buffer_length(repeat->member), left = repeat->times > 0 ? length - repeat->at : 0;
    *ret = MIN_OF(n, left);
    memcpy(data, buffer_bytes(repeat->member) + repeat->at, *ret);
    repeat->at += *ret;
    if (repeat->at == length) {
        repeat->at = 0;
        repeat->times -= repeat->times > 0;
    }
    return 0;
}

static void a_bomb_is_stopped(void **state)
{
    static const size_t member_size = 16 << 20;
    Buffer member = { 0 };
    char *zeros = calloc(1, member_size);
    z_stream stream = { 0 };
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)zeros;
    stream.avail_in = (uInt)member_size;
    stream.next_out = buffer_reserve(&member, 1 << 20);
    stream.avail_out = 1 << 20;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    buffer_added(&member, stream.total_out);
    deflateEnd(&stream);

    Repeat repeat = { .member = &member, .times = 70 };
    Unpacker *unpacker = NULL;
    Error error = { 0 };
    assert_int_equal(unpacker_new(&unpacker, (ByteStream){ repeat_read, &repeat }, COMPRESSION_GZIP,
                                  repeat.times * buffer_length(&member), &error),
                     0);
    ByteStream unpacked = unpacker_stream(unpacker);
    uint64_t total = 0;
    size_t got = 0;
    int r;
    do {
        r = unpacked.read(unpacked.context, zeros, 1 << 20, &got, &error);
        total += r == 0 ? got : 0;
    } while (r == 0 && got > 0);
    assert_int_equal(r, -1);
    assert_true(total > UNPACK_FREE / 2 && total / UNPACK_RATIO_MAX <= 70 * buffer_length(&member));
    assert_string_equal(error.message,
                        "unpacks to more than 1000 times its size, as a decompression bomb does; if it is "
                        "meant, put the unpacked file here instead");
    assert_int_equal(error.kind, ERROR_DATA);
    error_clear(&error);
    unpacker_free(unpacker);
    buffer_clear(&member);
    free(zeros);
}

/* --- decoding --- */

static int decode(Buffer *to, const char *encoding, const void *data, size_t n, size_t piece, Error *error)
{
    Pieces pieces = { .data = data, .n = n, .piece = piece };
    Charset *charset = NULL;
    if (charset_new(&charset, encoding, error) < 0)
        return -1;
    assert_non_null(charset);
    ByteStream stream = charset_stream(charset, (ByteStream){ pieces_read, &pieces });
    size_t got;
    int r;
    do {
        r = stream.read(stream.context, buffer_reserve(to, 100), 100, &got, error);
        if (r == 0)
            buffer_added(to, got);
    } while (r == 0 && got > 0);
    charset_free(charset);
    return r;
}

static void charsets_decode(void **state)
{
    static const struct {
        const char *encoding, *data;
        size_t n;
        const char *expected;
    } cases[] = {
        { "latin-1", "Caf\xe9", 4, "Café" },
        { "latin1", "Caf\xe9", 4, "Café" },
        { "iso8859_15", "\xa4", 1, "€" },
        { "ISO-8859-15", "\xa4", 1, "€" },
        { "cp1252", "\x80", 1, "€" },
        { "windows-1252", "\x80", 1, "€" },
        { "shift_jis", "\x93\xfa", 2, "日" },
        { "utf-16",
          "\xff\xfe"
          "a\0\xe9\0",
          6,
          "\xef\xbb\xbf"
          "aé" },
        { "utf_16", "\xfe\xff\0a\0\xe9", 6,
          "\xef\xbb\xbf"
          "aé" },
        { "UTF-16", "a\0\xe9\0", 4, "aé" },
        { "utf-16-le", "a\0=\xd8\0\xde", 6, "a😀" },
        { "utf-16be", "\0a", 2, "a" },
        { "utf-32", "\xff\xfe\0\0a\0\0\0", 8,
          "\xef\xbb\xbf"
          "a" },
        { "ascii", "a", 1, "a" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        for (size_t piece = 1; piece < 9; piece++) {
            Buffer out = { 0 };
            Error error = { 0 };
            assert_int_equal(decode(&out, cases[i].encoding, cases[i].data, cases[i].n, piece, &error), 0);
            assert_int_equal(buffer_length(&out), strlen(cases[i].expected));
            assert_memory_equal(buffer_bytes(&out), cases[i].expected, strlen(cases[i].expected));
            buffer_clear(&out);
        }
    Charset *charset = (Charset *)&charset;
    assert_int_equal(charset_new(&charset, "UTF_8", NULL), 0);
    assert_null(charset);
    assert_int_equal(charset_new(&charset, "utf-8-sig", NULL), 0);
    assert_null(charset);
}

static void wrong_encodings_are_said(void **state)
{
    static const struct {
        const char *encoding, *data;
        size_t n;
        const char *expected;
    } cases[] = {
        { "cp1252",
          "a\x81"
          "b",
          3, "not valid cp1252 text at the byte 0x81: check \"encoding:\"" },
        { "ascii", "a\xe9", 2, "not valid ascii text at the byte 0xe9: check \"encoding:\"" },
        { "shift_jis", "a\x93", 2,
          "the file ends within a character: not valid shift_jis text at the byte 0x93: check "
          "\"encoding:\"" },
        { "utf-16", "a\0b", 3,
          "the file ends within a character: not valid utf-16 text at the byte 0x62: check "
          "\"encoding:\"" },
        { "klingon", "", 0,
          "the encoding \"klingon\" is not known on this system; \"iconv --list\" shows those that are" },
        { "latin1//TRANSLIT", "", 0,
          "the encoding \"latin1//TRANSLIT\" is not known on this system; \"iconv --list\" shows "
          "those that are" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Buffer out = { 0 };
        Error error = { 0 };
        assert_int_equal(decode(&out, cases[i].encoding, cases[i].data, cases[i].n, 2, &error), -1);
        assert_string_equal(error.message, cases[i].expected);
        if (i < 4) /* what stands before it is not lost */
            assert_memory_equal(buffer_bytes(&out), "a", 1);
        error_clear(&error);
        buffer_clear(&out);
    }
}

static void one_descriptor_serves_many_files(void **state)
{
    Charset *charset = NULL;
    assert_int_equal(charset_new(&charset, "utf-16", NULL), 0);
    static const char *const files[] = { "\376\377\0a", "\377\376a\0", "\376\377\0a" };
    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        Pieces pieces = { .data = files[i], .n = 4 };
        ByteStream stream = charset_stream(charset, (ByteStream){ pieces_read, &pieces });
        char text[16];
        size_t n;
        assert_int_equal(stream.read(stream.context, text, sizeof(text), &n, NULL), 0);
        assert_int_equal(n, 4);
        assert_memory_equal(text,
                            "\xef\xbb\xbf"
                            "a",
                            4);
    }
    charset_free(charset);
}

/* --- folder and file --- */

static char *make_folder(void)
{
    char *path = xasprintf("%s/wherry-files-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static void remove_folder(char *path)
{
    path_remove_tree(AT_FDCWD, path);
    assert_int_equal(access(path, F_OK), -1);
    free(path);
}

static void put_file(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void a_folder_is_listed_in_byte_order(void **state)
{
    char *path = make_folder();
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static const char *const names[] = { "b.csv",         "a.csv",    "B.csv",     ".hidden.csv",         "é.csv",
                                         "new\nline.csv", "\xff.csv", "a.csv.tmp", "a.csv.manifest.json", "x.txt",
                                         "a[1].csv" };
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        put_file(fd, names[i], "");
    Folder folder;
    assert_int_equal(folder_list(fd, "*.csv", &folder, NULL), 0);
    static const char *const expected[] = { ".hidden.csv", "B.csv",         "a.csv", "a[1].csv",
                                            "b.csv",       "new\nline.csv", "é.csv", "\xff.csv" };
    assert_int_equal(folder.count, ELEMENTSOF(expected));
    for (size_t i = 0; i < folder.count; i++)
        assert_string_equal(folder.names[i], expected[i]);
    folder_clear(&folder);
    assert_int_equal(folder_list(fd, NULL, &folder, NULL), 0);
    assert_int_equal(folder.count, ELEMENTSOF(names) - 2);
    folder_clear(&folder);
    assert_int_equal(folder_list(fd, "[!a]*.txt", &folder, NULL), 0);
    assert_int_equal(folder.count, 1);
    folder_clear(&folder);
    close(fd);
    remove_folder(path);
}

static void assert_entry(int folder, const char *name, FolderEntry expected, const char *expected_why)
{
    int fd = -1;
    char *why;
    assert_int_equal(folder_open_file(folder, name, true, &fd, &why), expected);
    if (expected_why)
        assert_string_equal(why, expected_why);
    else
        assert_null(why);
    assert_true((fd >= 0) == (expected == FOLDER_FILE));
    free(why);
    close_fd(fd);
}

static void only_files_are_opened(void **state)
{
    char *path = make_folder();
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), unused = -1;
    char *why;
    put_file(fd, "a.csv", "x");
    assert_int_equal(mkdirat(fd, "dir.csv", 0700) | mkdirat(fd, "done", 0700), 0);
    assert_int_equal(mkfifoat(fd, "fifo.csv", 0600), 0);
    assert_int_equal(symlinkat("loop.csv", fd, "loop.csv"), 0);
    assert_int_equal(symlinkat("nowhere.csv", fd, "dangling.csv"), 0);
    assert_int_equal(symlinkat("a.csv", fd, "link.csv"), 0);
    assert_int_equal(symlinkat("done", fd, "link-to-dir.csv"), 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s.csv", path);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_entry(fd, "a.csv", FOLDER_FILE, NULL);
    assert_entry(fd, "link.csv", FOLDER_FILE, NULL);
    assert_entry(fd, "dir.csv", FOLDER_NOTE, "a folder, not a file: not loaded");
    assert_entry(fd, "link-to-dir.csv", FOLDER_NOTE, "a folder, not a file: not loaded");
    assert_entry(fd, "fifo.csv", FOLDER_NOTE, "a named pipe, not a file: not loaded");
    assert_entry(fd, "s.csv", FOLDER_NOTE, "a socket, not a file: not loaded");
    assert_entry(fd, "loop.csv", FOLDER_BROKEN, "a symbolic link that leads back to itself");
    assert_entry(fd, "dangling.csv", FOLDER_BROKEN,
                 "a symbolic link to a file that does not exist, or that lies outside the folder");
    assert_entry(fd, "gone.csv", FOLDER_NOTE, "was removed before it could be read");
    /* Nobody asked for a folder without an ending where every name is asked for. */
    assert_int_equal(folder_open_file(fd, "done", false, &unused, &why), FOLDER_IGNORED);
    assert_int_equal(folder_open_file(fd, "dir.csv", false, &unused, &why), FOLDER_NOTE);
    free(why);
    close(listening);
    close(fd);
    remove_folder(path);
}

static void a_file_that_changes_is_seen(void **state)
{
    char *path = make_folder();
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Sha256 *sha256 = sha256_new();
    for (int change = 0; change < 7; change++) {
        put_file(folder, "a.csv", "id\n1\n");
        /* Not now: a write in the same tick of the file system's clock would leave the time as it was. */
        struct timespec times[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
        utimensat(folder, "a.csv", times, 0);
        DataFile file;
        Error error = { 0 };
        assert_int_equal(data_file_open(&file, openat(folder, "a.csv", O_RDONLY | O_CLOEXEC), "a.csv", sha256, &error),
                         0);
        if (change == 1) { /* grows before it is read */
            int fd = openat(folder, "a.csv", O_WRONLY | O_APPEND | O_CLOEXEC);
            assert_int_equal(write(fd, "2\n", 2), 2);
            close(fd);
        }
        int r = data_file_drain(&file, &error);
        if (change == 2)
            put_file(folder, "a.csv", "id\n2\n"); /* same size */
        if (change == 3)
            put_file(folder, "a.csv", "id\n");
        /* the time alone, by a second, by a nanosecond */
        times[1].tv_sec += change == 5;
        times[1].tv_nsec += change == 6;
        if (change > 4)
            utimensat(folder, "a.csv", times, 0);
        if (change == 4)
            unlinkat(folder, "a.csv", 0); /* what is open is still whole */
        if (r == 0)
            r = data_file_unchanged(&file, &error);
        uint8_t hash[SHA256_SIZE];
        data_file_hash(&file, hash);
        if (change == 0 || change == 4) {
            char text[SHA256_TEXT_SIZE];
            sha256_text(hash, text);
            assert_int_equal(r, 0);
            assert_string_equal(text, "7cde7fb64fd82bd152710cf238e017b9ab46c0592483edc067ba4f6c75fac108");
        } else {
            assert_int_equal(r, -1);
            assert_int_equal(error.kind, ERROR_CHANGED);
            assert_string_equal(error.message,
                                "still being written: it changed while it was read and waits for the next run");
        }
        error_clear(&error);
        data_file_close(&file);
    }
    sha256_free(sha256);
    close(folder);
    remove_folder(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_archives_unpack),
        cmocka_unit_test(no_part_of_an_archive_passes_for_the_whole),
        cmocka_unit_test(no_flipped_bit_becomes_data),
        cmocka_unit_test(packing_errors_are_said),
        cmocka_unit_test(a_bomb_is_stopped),
        cmocka_unit_test(charsets_decode),
        cmocka_unit_test(wrong_encodings_are_said),
        cmocka_unit_test(one_descriptor_serves_many_files),
        cmocka_unit_test(a_folder_is_listed_in_byte_order),
        cmocka_unit_test(only_files_are_opened),
        cmocka_unit_test(a_file_that_changes_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
