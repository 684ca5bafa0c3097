/* Threads that know nothing of Python: each adds one to a counter every 2 ms. The kernel knows them as "native". */
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

static long counts[256];

static void *work(void *count) {
    struct timespec nap = {0, 2000000};
    prctl(PR_SET_NAME, "native");
    for (;;) {
        nanosleep(&nap, NULL);
        ++*(volatile long *)count;
    }
    return NULL;
}

int start(int threads) {
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, &counts[i]) != 0)
            return i;
    }
    return threads;
}

long total(void) {
    long sum = 0;
    for (int i = 0; i < 256; i++)
        sum += *(volatile long *)&counts[i];
    return sum;
}
