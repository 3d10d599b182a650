/*
 * A disk that loses its power, preloaded into the process under test.
 *
 * Below POWER_LOSS_ROOT every file that the process opens has a second one below POWER_LOSS_DURABLE, and that one holds
 * only what the process has flushed: fsync and fdatasync carry over what was written since the last one, before they
 * return. A name is durable from the first flush of its file on; that a name is gone, from the next flush of its
 * directory. What stays behind when the process is killed is what a disk would hold that has lost all the rest.
 *
 * A real disk may write more than it was asked to, in any order: with POWER_LOSS_SPILLS set, every other write goes to the durable
 * file at once. And so that this can be seen to find something, a disk may lie: while the file POWER_LOSS_LIES exists,
 * the flush of a file whose path contains that file's text does nothing and succeeds.
 *
 * Calls that it can't follow on these files end the process with a word about it. The calls of the system are made
 * directly, so nothing here depends on how the C library is linked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MAX 256
#define GONE_MAX 64
#define PATH_BYTES 1024
#define FLUSH_MICROS_MAX 2000

struct range {
    off_t from, to;
};

/* A file below the root, as long as it has its name. */
struct file {
    dev_t dev;
    ino_t ino;
    char path[PATH_BYTES];
    char durable[PATH_BYTES];
    /* Of the durable file; -1 while the name is not durable. */
    int fd;
    off_t size;
    struct range *dirty;
    size_t dirty_count, dirty_room;
    /* Two flushes of one file keep their order. */
    pthread_mutex_t flushing;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files[FILES_MAX];
/* Durable names of files that were unlinked, until their directory is flushed. */
static char gone[GONE_MAX][PATH_BYTES];
static size_t gone_count;
static uint64_t chance;
static char root[PATH_BYTES], durable_root[PATH_BYTES], lies[PATH_BYTES];
static int spills, is_on;

static void end(const char *why, const char *path) {
    dprintf(2, "power loss: %s: %s (%s)\n", why, path, strerror(errno));
    abort();
}

static void setting(char *into, const char *name) {
    const char *value = getenv(name);
    if (value && snprintf(into, PATH_BYTES, "%s", value) >= PATH_BYTES)
        end("too long", name);
}

__attribute__((constructor)) static void begin(void) {
    const char *seed = getenv("POWER_LOSS_SEED");
    setting(root, "POWER_LOSS_ROOT");
    setting(durable_root, "POWER_LOSS_DURABLE");
    setting(lies, "POWER_LOSS_LIES");
    spills = getenv("POWER_LOSS_SPILLS") != NULL;
    chance = seed ? strtoull(seed, NULL, 10) : 1;
    is_on = root[0] && durable_root[0];
}

static uint64_t below(uint64_t limit) {
    uint64_t mixed = chance += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return (mixed ^ (mixed >> 31)) % limit;
}

/* What of a path comes after the root; NULL: it is not below it. */
static const char *inside(const char *path) {
    size_t length = strlen(root);
    if (!is_on || !path || strncmp(path, root, length) != 0)
        return NULL;
    return path[length] == '/' || path[length] == '\0' ? path + length : NULL;
}

/* SQLite's index of its write-ahead log is memory that has a name: it is made anew after a crash. */
static int is_memory(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, "-shm") == 0;
}

static struct file *find(int fd) {
    struct stat stat;
    if (!is_on || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
        return NULL;
    for (size_t at = 0; at < FILES_MAX; at++)
        if (files[at] && files[at]->ino == stat.st_ino && files[at]->dev == stat.st_dev)
            return files[at];
    return NULL;
}

static void soil(struct file *file, off_t from, off_t to) {
    if (from >= to)
        return;
    if (file->dirty_count && file->dirty[file->dirty_count - 1].to == from) {
        file->dirty[file->dirty_count - 1].to = to;
    } else {
        if (file->dirty_count == file->dirty_room) {
            file->dirty_room = file->dirty_room ? 2 * file->dirty_room : 64;
            file->dirty = realloc(file->dirty, file->dirty_room * sizeof *file->dirty);
            if (!file->dirty)
                end("no memory for", file->path);
        }
        file->dirty[file->dirty_count++] = (struct range){from, to};
    }
    if (file->size < to)
        file->size = to;
}

/* Takes note of a file that was just opened; `is_new`: this has made it. */
static void meet(int fd, const char *path, int is_new) {
    struct stat stat;
    const char *rest = inside(path);
    if (!rest || is_memory(path) || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || find(fd))
        return;
    struct file *file = calloc(1, sizeof *file);
    if (!file || snprintf(file->path, PATH_BYTES, "%s", path) >= PATH_BYTES ||
        snprintf(file->durable, PATH_BYTES, "%s%s", durable_root, rest) >= PATH_BYTES)
        end("no room for", path);
    file->dev = stat.st_dev;
    file->ino = stat.st_ino;
    file->size = is_new ? 0 : stat.st_size;
    file->fd = is_new ? -1 : (int)syscall(SYS_openat, AT_FDCWD, file->durable, O_RDWR | O_CLOEXEC, 0);
    pthread_mutex_init(&file->flushing, NULL);
    /* An earlier process may have written to it and not flushed: a flush is for all of that too. */
    soil(file, 0, file->size);
    for (size_t at = 0; at < FILES_MAX; at++)
        if (!files[at]) {
            files[at] = file;
            return;
        }
    end("too many files", path);
}

static void put(const struct file *file, const char *bytes, size_t length, off_t at) {
    while (length) {
        ssize_t written = syscall(SYS_pwrite64, file->fd, bytes, length, at);
        if (written <= 0)
            end("can't write", file->durable);
        bytes += written;
        length -= (size_t)written;
        at += written;
    }
}

static void wrote(int fd, const void *bytes, ssize_t length, off_t at) {
    struct file *file = find(fd);
    if (!file || length <= 0)
        return;
    soil(file, at, at + length);
    if (spills && file->fd >= 0 && below(2))
        put(file, bytes, (size_t)length, at);
}

/* The directories above a durable file become durable with it. */
static void make_above(const char *path) {
    char above[PATH_BYTES];
    snprintf(above, sizeof above, "%s", path);
    for (char *at = above + strlen(durable_root); (at = strchr(at + 1, '/'));) {
        *at = '\0';
        if (mkdir(above, 0700) != 0 && errno != EEXIST)
            end("can't make", above);
        *at = '/';
    }
}

static int is_lied_about(const char *path) {
    char named[PATH_BYTES] = "";
    int fd = lies[0] ? (int)syscall(SYS_openat, AT_FDCWD, lies, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, named, sizeof named - 1);
    syscall(SYS_close, fd);
    return length >= 0 && strstr(path, named) != NULL;
}

/* What was dirty when a flush began, and the bytes of it. */
struct load {
    struct range *ranges;
    size_t count;
    char **bytes;
    off_t size;
};

static void take(struct file *file, struct load *load) {
    *load = (struct load){file->dirty, file->dirty_count, calloc(file->dirty_count + 1, sizeof(char *)), file->size};
    file->dirty = NULL;
    file->dirty_count = file->dirty_room = 0;
    /* The flushing descriptor may be one that only writes. */
    int from = (int)syscall(SYS_openat, AT_FDCWD, file->path, O_RDONLY | O_CLOEXEC, 0);
    if (from < 0 || !load->bytes)
        end("can't read", file->path);
    for (size_t at = 0; at < load->count; at++) {
        struct range *range = &load->ranges[at];
        if (range->to > load->size)
            range->to = load->size;
        if (range->from >= range->to)
            continue;
        size_t length = (size_t)(range->to - range->from), done = 0;
        load->bytes[at] = malloc(length);
        while (load->bytes[at] && done < length) {
            ssize_t got = syscall(SYS_pread64, from, load->bytes[at] + done, length - done, range->from + (off_t)done);
            if (got <= 0)
                end("can't read", file->path);
            done += (size_t)got;
        }
        if (!load->bytes[at])
            end("no memory for", file->path);
    }
    syscall(SYS_close, from);
}

static void carry_over(struct file *file, struct load *load) {
    if (file->fd < 0) {
        make_above(file->durable);
        file->fd = (int)syscall(SYS_openat, AT_FDCWD, file->durable, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (file->fd < 0)
            end("can't make", file->durable);
        for (size_t at = 0; at < gone_count; at++)
            if (strcmp(gone[at], file->durable) == 0)
                gone[at][0] = '\0';
    }
    for (size_t at = 0; at < load->count; at++)
        if (load->bytes[at])
            put(file, load->bytes[at], (size_t)(load->ranges[at].to - load->ranges[at].from), load->ranges[at].from);
    if (syscall(SYS_ftruncate, file->fd, load->size) != 0)
        end("can't cut", file->durable);
}

static void flush_directory(int fd) {
    char link[64], path[PATH_BYTES] = "", durable[2 * PATH_BYTES];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) < 0 || !inside(path))
        return;
    int length = snprintf(durable, sizeof durable, "%s%s/", durable_root, inside(path));
    for (size_t at = 0; at < gone_count; at++) {
        const char *name = strrchr(gone[at], '/');
        if (!name || name + 1 - gone[at] != length || strncmp(gone[at], durable, (size_t)length) != 0)
            continue;
        if (syscall(SYS_unlinkat, AT_FDCWD, gone[at], 0) != 0)
            end("can't remove", gone[at]);
        gone[at][0] = '\0';
    }
}

static int flush(int fd) {
    struct stat stat;
    if (!is_on)
        return (int)syscall(SYS_fsync, fd);
    if (fstat(fd, &stat) != 0)
        return -1;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(stat.st_mode))
        flush_directory(fd);
    struct file *file = find(fd);
    pthread_mutex_unlock(&lock);
    if (!file || is_lied_about(file->path))
        return 0;
    struct load load;
    pthread_mutex_lock(&file->flushing);
    pthread_mutex_lock(&lock);
    take(file, &load);
    useconds_t pause = (useconds_t)below(FLUSH_MICROS_MAX);
    pthread_mutex_unlock(&lock);
    /* As long as this takes nothing of it is durable, and nobody may have been told so. */
    usleep(pause);
    pthread_mutex_lock(&lock);
    carry_over(file, &load);
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&file->flushing);
    for (size_t at = 0; at < load.count; at++)
        free(load.bytes[at]);
    free(load.bytes);
    free(load.ranges);
    return 0;
}

int fsync(int fd) { return flush(fd); }
int fdatasync(int fd) { return flush(fd); }

static int open_at(int directory, const char *path, int flags, mode_t mode) {
    struct stat stat;
    if (!inside(path))
        return (int)syscall(SYS_openat, directory, path, flags, mode);
    if (flags & (O_SYNC | O_DSYNC))
        end("opened to write through", path);
    pthread_mutex_lock(&lock);
    int is_new = (flags & O_CREAT) && lstat(path, &stat) != 0;
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    int error = errno;
    if (fd >= 0) {
        meet(fd, path, is_new);
        struct file *file = find(fd);
        if (file && (flags & O_TRUNC)) {
            soil(file, 0, file->size);
            file->size = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list *more) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(*more, mode_t) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = mode_of(flags, &more);                                                                           \
        va_end(more);                                                                                                  \
        return open_at(AT_FDCWD, path, flags, mode);                                                                   \
    }
#define OPENAT(name)                                                                                                   \
    int name(int directory, const char *path, int flags, ...) {                                                        \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = mode_of(flags, &more);                                                                           \
        va_end(more);                                                                                                  \
        return open_at(directory, path, flags, mode);                                                                  \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t at) {
    pthread_mutex_lock(&lock);
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, length, at);
    int error = errno;
    wrote(fd, bytes, written, at);
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return write_at(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) { return write_at(fd, bytes, length, at); }

ssize_t write(int fd, const void *bytes, size_t length) {
    pthread_mutex_lock(&lock);
    int is_ours = find(fd) != NULL;
    if (!is_ours)
        pthread_mutex_unlock(&lock);
    ssize_t written = syscall(SYS_write, fd, bytes, length);
    int error = errno;
    if (is_ours) {
        /* Right for a file that is appended to as well. */
        wrote(fd, bytes, written, lseek(fd, 0, SEEK_CUR) - (written > 0 ? written : 0));
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return written;
}

static int cut(int fd, off_t size) {
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_ftruncate, fd, size), error = errno;
    struct file *file = find(fd);
    if (done == 0 && file) {
        off_t before = file->size;
        soil(file, size < before ? size : before, size < before ? before : size);
        file->size = size;
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }

int unlinkat(int directory, const char *path, int flags) {
    struct stat stat;
    const char *rest = inside(path);
    if (!rest || is_memory(path))
        return (int)syscall(SYS_unlinkat, directory, path, flags);
    pthread_mutex_lock(&lock);
    int has_stat = lstat(path, &stat) == 0;
    int done = (int)syscall(SYS_unlinkat, directory, path, flags), error = errno;
    for (size_t at = 0; done == 0 && has_stat && at < FILES_MAX; at++) {
        struct file *file = files[at];
        if (!file || file->ino != stat.st_ino || file->dev != stat.st_dev)
            continue;
        if (file->fd >= 0) {
            if (gone_count == GONE_MAX)
                end("too many files are removed", path);
            memcpy(gone[gone_count++], file->durable, PATH_BYTES);
        }
        /* Whoever flushes it this very moment still holds it: it is not freed. */
        files[at] = NULL;
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

static void refuse(int fd, const char *call) {
    pthread_mutex_lock(&lock);
    struct file *file = find(fd);
    pthread_mutex_unlock(&lock);
    if (file)
        end(call, file->path);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    refuse(fd, "writev");
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
    refuse(to, "copy_file_range");
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags);
}

static void *map(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    if (fd >= 0 && (access & PROT_WRITE) && (flags & MAP_SHARED))
        refuse(fd, "mmap");
    return (void *)syscall(SYS_mmap, at, length, access, flags, fd, offset);
}

void *mmap(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    return map(at, length, access, flags, fd, offset);
}
void *mmap64(void *at, size_t length, int access, int flags, int fd, off_t offset) {
    return map(at, length, access, flags, fd, offset);
}

static int move(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    if (inside(from) || inside(to))
        end("rename", to);
    return (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
}

int rename(const char *from, const char *to) { return move(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    return move(from_directory, from, to_directory, to, 0);
}
int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    return move(from_directory, from, to_directory, to, flags);
}
