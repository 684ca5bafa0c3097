/* Take a page away from the program that calls this, for a moment, and give it back as it was. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static char saved[1 << 16];

void vanish(void *address, int unmap, long nanoseconds) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = (void *)((unsigned long)address & ~(size - 1));
    struct timespec pause = {0, nanoseconds};
    if (size > sizeof(saved) || (unsigned long)address < size)
        abort();
    memcpy(saved, page, size);
    if (unmap ? munmap(page, size) : mprotect(page, size, PROT_NONE))
        abort();
    nanosleep(&pause, NULL);
    if (unmap) {
        if (mmap(page, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page)
            abort();
        memcpy(page, saved, size);
    } else if (mprotect(page, size, PROT_READ | PROT_WRITE)) {
        abort();
    }
}
