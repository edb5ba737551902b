/* reader.c: the memory of another process, piece by piece.
 *
 * Wraps VirtualQueryEx and ReadProcessMemory. No Python in here.
 *
 * The target goes on running, so a region may be gone before it is read, and
 * a failing read is no error. The region is asked for once more, and what still
 * looks readable is tried page by page; pages that fail are counted and left
 * out. Only a target that has exited, or that may not be read at all, ends the
 * walk. */
#include "scan.h"

#include "base/handles.h"

static wi_reader_result
reader_fail(wi_reader *reader, DWORD err, const char *api)
{
    reader->err = err;
    reader->api = api;
    return WI_READER_FAILED;
}

static BOOL
reader_wants(const wi_reader *reader, const MEMORY_BASIC_INFORMATION *region)
{
    return wi_region_readable(region) &&
           (reader->protections == 0 ||
            (region->Protect & 0xff & reader->protections) != 0);
}

/* Move the cursor to the next byte that should be readable, and `known` to
 * the end of its region. */
static wi_reader_result
reader_seek(wi_reader *reader)
{
    for (;;) {
        while (reader->range < reader->range_count &&
               reader->cursor >= reader->ranges[reader->range].end) {
            reader->range++;
        }
        if (reader->range == reader->range_count) {
            return WI_READER_END;
        }
        const wi_range *range = &reader->ranges[reader->range];
        if (reader->cursor < range->start) {
            reader->cursor = range->start;
        }
        MEMORY_BASIC_INFORMATION region;
        if (!wi_remote_query(reader->target, reader->cursor, &region)) {
            DWORD err = GetLastError();
            if (err == ERROR_INVALID_PARAMETER &&
                !wi_exits_within(reader->target, 0)) {
                reader->range = reader->range_count; /* no more addresses */
                return WI_READER_END;
            }
            return reader_fail(reader, err, "VirtualQueryEx");
        }
        uintptr_t end = (uintptr_t)region.BaseAddress + region.RegionSize;
        if (end <= reader->cursor) {
            end = UINTPTR_MAX;
        }
        if (end > range->end) {
            end = range->end;
        }
        if (reader_wants(reader, &region)) {
            reader->known = end;
            return WI_READER_FOUND;
        }
        if (region.State == MEM_COMMIT && !wi_region_readable(&region)) {
            reader->skipped += end - reader->cursor;
        }
        reader->cursor = end;
    }
}

/* The bytes that were kept, as a piece with nothing after it. */
static wi_reader_result
reader_flush(wi_reader *reader, wi_piece *piece, uintptr_t end)
{
    piece->data = reader->tail;
    piece->size = reader->kept;
    piece->address = end - reader->kept;
    piece->last = 1;
    reader->kept = 0;
    return WI_READER_FOUND;
}

/* How many bytes to read at the cursor. */
static size_t
reader_step(const wi_reader *reader)
{
    size_t n = reader->known - reader->cursor;
    size_t most = WI_READ_CHUNK;
    if (reader->cursor < reader->careful) {
        most = (size_t)(WI_PAGE - reader->cursor % WI_PAGE);
    }
    return n < most ? n : most;
}

wi_reader_result
wi_reader_next(wi_reader *reader, wi_piece *piece)
{
    uint8_t *chunk = reader->room + reader->overlap;
    while (reader->err == 0) {
        const uintptr_t before = reader->cursor;
        if (reader->cursor >= reader->known) {
            wi_reader_result found = reader_seek(reader);
            if (reader->kept > 0 &&
                (found != WI_READER_FOUND || reader->cursor != before)) {
                return reader_flush(reader, piece, before);
            }
            if (found != WI_READER_FOUND) {
                return found;
            }
        }
        const size_t n = reader_step(reader);
        if (reader->kept > 0) {
            memmove(chunk - reader->kept, reader->tail, reader->kept);
            reader->tail = chunk - reader->kept;
        }
        SIZE_T done = 0;
        if (ReadProcessMemory(reader->target, (const void *)reader->cursor,
                              chunk, n, &done) &&
            done == n) {
            piece->data = chunk - reader->kept;
            piece->size = reader->kept + n;
            piece->address = reader->cursor - reader->kept;
            reader->scanned += n;
            reader->cursor += n;
            reader->kept =
                reader->overlap < piece->size ? reader->overlap : piece->size;
            reader->tail = piece->data + piece->size - reader->kept;
            piece->last = 0;
            return WI_READER_FOUND;
        }
        DWORD err = GetLastError();
        BOOL denied = err == ERROR_ACCESS_DENIED;
        if (wi_exits_within(reader->target, denied ? WI_DYING_MS : 0) ||
            (denied && reader->scanned == 0)) {
            reader_fail(reader, err ? err : ERROR_PARTIAL_COPY,
                        "ReadProcessMemory");
            break;
        }
        if (reader->cursor >= reader->careful &&
            n > WI_PAGE - reader->cursor % WI_PAGE) {
            /* Ask again what is there, and go on in small steps. */
            reader->careful = reader->cursor + n;
            reader->known = reader->cursor;
            continue;
        }
        reader->skipped += n;
        reader->cursor += n;
        reader->known = reader->cursor;
        if (reader->kept > 0) {
            return reader_flush(reader, piece, before);
        }
    }
    if (reader->kept > 0) {
        return reader_flush(reader, piece, reader->cursor);
    }
    return WI_READER_FAILED;
}

uint64_t
wi_reader_estimate(const wi_reader *reader)
{
    wi_reader walker = *reader;
    uint64_t total = 0;
    while (reader_seek(&walker) == WI_READER_FOUND) {
        total += walker.known - walker.cursor;
        walker.cursor = walker.known;
    }
    return total;
}
