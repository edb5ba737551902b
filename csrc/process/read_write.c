/* read_write.c: read and write the memory of another process, in plain C.
 *
 * Wraps ReadProcessMemory, WriteProcessMemory and VirtualQueryEx. No Python
 * in here: everything may run without the GIL, on any thread.
 *
 * ReadProcessMemory fails as a whole when a part of the range cannot be read,
 * and how much it copied until then depends on the size of its inner buffer.
 * So a failed read is repeated region by region, and where that fails (the
 * target changes its memory meanwhile), page by page. */
#include "process.h"

#include <intrin.h>

/* ----------------------------------------------------- what is readable */

BOOL
wi_remote_lies(void)
{
    /* A fact about the system, the same for every interpreter: whoever asks
     * first finds it out, and two at once find the same. */
    static volatile LONG known = 0; /* 1: honest, 2: lies */
    if (known == 0) {
        LONG answer = 1;
        void *page = VirtualAlloc(NULL, WI_PAGE, MEM_RESERVE | MEM_COMMIT,
                                  PAGE_NOACCESS);
        if (page != NULL) {
            char byte;
            SIZE_T done = 0;
            if (ReadProcessMemory(GetCurrentProcess(), page, &byte, 1,
                                  &done)) {
                answer = 2;
            }
            VirtualFree(page, 0, MEM_RELEASE);
        }
        InterlockedExchange(&known, answer);
    }
    return known == 2;
}

BOOL
wi_region_readable(const MEMORY_BASIC_INFORMATION *region)
{
    /* Touching a guard page would disarm the target's guard. */
    return region->State == MEM_COMMIT && region->Protect != 0 &&
           !(region->Protect & (PAGE_GUARD | PAGE_NOACCESS));
}

BOOL
wi_region_writable(const MEMORY_BASIC_INFORMATION *region)
{
    /* WriteProcessMemory lifts the protection of code by itself, but not that
     * of read-only data. */
    return wi_region_readable(region) &&
           (region->Protect & 0xff) != PAGE_READONLY;
}

size_t
wi_page_count(uintptr_t address, size_t size)
{
    if (size == 0) {
        return 0;
    }
    return (size_t)((address % WI_PAGE + (size - 1)) / WI_PAGE + 1);
}

/* An answer of VirtualQueryEx is taken to hold while accesses follow each
 * other closely: a target that was told to change its memory cannot have
 * answered in between. It costs twice the read that it vouches for. The
 * performance counter is a system call where this is needed, so the time is
 * that of the processor, whose 1 to 5 GHz are near enough: 60 to 300 us, and 4
 * to 20 ms. Where counters differ between processors, it is asked again. */
#if defined(_M_X64) || defined(__x86_64__) || defined(_M_IX86)
#define VOUCH_GAP UINT64_C(300000)
#define VOUCH_LIFE UINT64_C(20000000)

static uint64_t
remote_ticks(void)
{
    return __rdtsc();
}
#else
#define VOUCH_GAP UINT64_C(1000) /* of 10 MHz */
#define VOUCH_LIFE UINT64_C(100000)

static uint64_t
remote_ticks(void)
{
    LARGE_INTEGER now;
    QueryPerformanceCounter(&now);
    return (uint64_t)now.QuadPart;
}
#endif

static BOOL
remote_vouched(wi_vouch *vouch, uintptr_t address, uintptr_t last)
{
    uint64_t now = remote_ticks();
    uint64_t gap = now - vouch->used;
    vouch->used = now;
    return address >= vouch->first && last <= vouch->last && gap < VOUCH_GAP &&
           now - vouch->asked < VOUCH_LIFE;
}

/* After an access that took long: the gap until the next one begins now. */
static void
remote_accessed(const wi_target *target, size_t size)
{
    if (target->vouch != NULL && size > WI_PAGE) {
        target->vouch->used = remote_ticks();
    }
}

static void
remote_remember(wi_vouch *vouch, const MEMORY_BASIC_INFORMATION *region)
{
    vouch->asked = vouch->used = remote_ticks();
    vouch->first = (uintptr_t)region->BaseAddress;
    vouch->last = vouch->first + (region->RegionSize - 1);
    vouch->readable = wi_region_readable(region);
    vouch->writable = wi_region_writable(region);
}

/* Whether all of the range may be read (or written) as VirtualQueryEx sees
 * it; unknown when it may not be asked. 0, ERROR_NOACCESS or WI_WOULD_ASK. */
static DWORD
remote_vouch(const wi_target *target, uintptr_t address, size_t size,
             BOOL write, BOOL unknown)
{
    uintptr_t last = address + (size - 1);
    wi_vouch *vouch = target->vouch;
    if (vouch != NULL && remote_vouched(vouch, address, last)) {
        return (write ? vouch->writable : vouch->readable) ? 0
                                                           : ERROR_NOACCESS;
    }
    if (target->brief) {
        return WI_WOULD_ASK;
    }
    for (;;) {
        MEMORY_BASIC_INFORMATION region;
        if (!wi_remote_query(target->handle, address, &region)) {
            /* 87 is how it says "beyond the address space". */
            return GetLastError() != ERROR_INVALID_PARAMETER && unknown
                       ? 0
                       : ERROR_NOACCESS;
        }
        uintptr_t region_last =
            (uintptr_t)region.BaseAddress + (region.RegionSize - 1);
        if (vouch != NULL) {
            remote_remember(vouch, &region);
        }
        if (!(write ? wi_region_writable(&region)
                    : wi_region_readable(&region))) {
            return ERROR_NOACCESS;
        }
        if (region_last >= last || region_last < address) {
            return 0;
        }
        address = region_last + 1;
    }
}

BOOL
wi_remote_may_read(const wi_target *target, uintptr_t address, size_t size)
{
    return size > 0 && size - 1 <= UINTPTR_MAX - address &&
           remote_vouch(target, address, size, FALSE, FALSE) == 0;
}

/* ---------------------------------------------------------------- reading */

static DWORD
remote_read_plain(const wi_target *target, uintptr_t address, void *buffer,
                  size_t size)
{
    SIZE_T done = 0;
    if (ReadProcessMemory(target->handle, (const void *)address, buffer, size,
                          &done) &&
        done == size) {
        return 0;
    }
    DWORD err = GetLastError();
    return err ? err : ERROR_PARTIAL_COPY;
}

DWORD
wi_remote_read(const wi_target *target, uintptr_t address, void *buffer,
               size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (size - 1 > UINTPTR_MAX - address) {
        return ERROR_NOACCESS;
    }
    /* Where it may not be asked, the read itself decides. */
    DWORD err = wi_remote_lies()
                    ? remote_vouch(target, address, size, FALSE, TRUE)
                    : 0;
    if (err) {
        return err;
    }
    err = remote_read_plain(target, address, buffer, size);
    remote_accessed(target, size);
    return err;
}

/* Read one stretch that should be readable, page by page where it is not. */
static size_t
remote_read_stretch(const wi_target *target, uintptr_t address, char *buffer,
                    size_t size, unsigned char *mask, DWORD *err)
{
    *err = remote_read_plain(target, address, buffer, size);
    if (*err == 0) {
        memset(mask, 1, wi_page_count(address, size));
        return size;
    }
    size_t total = 0;
    while (size > 0) {
        size_t part = (size_t)(WI_PAGE - address % WI_PAGE);
        if (part > size) {
            part = size;
        }
        if (remote_read_plain(target, address, buffer, part) == 0) {
            *mask = 1;
            total += part;
        }
        else {
            memset(buffer, 0, part);
        }
        address += part;
        buffer += part;
        size -= part;
        mask++;
    }
    return total;
}

size_t
wi_remote_read_mask(const wi_target *target, uintptr_t address, void *buffer,
                    size_t size, unsigned char *mask, DWORD *err)
{
    size_t total = 0;
    char *to = buffer;
    *err = 0;
    memset(mask, 0, wi_page_count(address, size));
    memset(buffer, 0, size);
    if (size > 0 && size - 1 > UINTPTR_MAX - address) {
        /* The range wraps round: the part below the top is all there is. */
        size = (size_t)(UINTPTR_MAX - address) + 1;
    }
    while (size > 0) {
        MEMORY_BASIC_INFORMATION region;
        size_t part;
        BOOL readable;
        if (!wi_remote_query(target->handle, address, &region)) {
            *err = GetLastError();
            if (*err != ERROR_ACCESS_DENIED) {
                break; /* beyond the address space, or the target is gone */
            }
            part = size; /* opened without the right to ask: just try */
            readable = TRUE;
        }
        else {
            uintptr_t used = address - (uintptr_t)region.BaseAddress;
            part = region.RegionSize - used;
            if (used >= region.RegionSize || part > size) {
                part = size;
            }
            readable = wi_region_readable(&region);
        }
        if (readable) {
            total += remote_read_stretch(target, address, to, part, mask, err);
        }
        mask += (address % WI_PAGE + part) / WI_PAGE;
        address += part;
        to += part;
        size -= part;
    }
    return total;
}

/* ---------------------------------------------------------------- writing */

DWORD
wi_remote_write(const wi_target *target, uintptr_t address, const void *data,
                size_t size, size_t *written)
{
    *written = 0;
    if (size == 0) {
        return 0;
    }
    if (size - 1 > UINTPTR_MAX - address) {
        return ERROR_NOACCESS;
    }
    /* Within one page it is all or nothing anyway. */
    DWORD err = wi_remote_lies() || wi_page_count(address, size) > 1
                    ? remote_vouch(target, address, size, TRUE, TRUE)
                    : 0;
    if (err) {
        return err;
    }
    SIZE_T done = 0;
    if (WriteProcessMemory(target->handle, (void *)address, data, size,
                           &done) &&
        done == size) {
        *written = size;
        return 0;
    }
    err = GetLastError();
    *written = done < size ? done : 0;
    return err ? err : ERROR_PARTIAL_COPY;
}
