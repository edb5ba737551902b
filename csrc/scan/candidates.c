/* candidates.c: CandidateSet, addresses whose values are followed.
 *
 *     with CandidateSet.scan(process, "i32", equals=100) as found:
 *         input("now the number is 97")
 *         if found.rescan("by", -3) == 1:
 *             [(address, value)] = found.items()
 *
 * A first scan (scan.h) fills the set. A rescan reads the values again,
 * compares them with the last ones and keeps the candidates whose change is
 * the one that is asked for. The candidates are in blocks, one for each WINDOW
 * of addresses that has any. A block has a bitmap or a list of places,
 * whichever is smaller, and the values; it also has the values of the first
 * scan, if the set keeps these and they differ. A rescan makes new blocks, and
 * shares those in which nothing changes. The set changes only when the whole
 * rescan has succeeded, and its earlier lists stay in a history of bounded
 * size.
 *
 * Values are numbers of one type, or bytes of one length (their type is
 * SCAN_TYPES), which are compared with a pattern. If they are long, a window
 * has several blocks.
 *
 * Owner: a set owns its blocks and a reference to its process. Thread: any;
 * one rescans at a time, and the others see the old state until it is done.
 * GIL: given up in slices. */
#include "scan.h"

#include "base/handles.h"

#include <stdlib.h>

#define WINDOW 65536 /* addresses of one block */
#define WIDEST 8     /* bytes of a number */

/* The most bytes of the values of one block: as many as numbers of a window. */
#define VALUES_MOST ((size_t)WINDOW * WIDEST)

/* How many earlier lists undo can bring back. */
#define HISTORY_MOST 16

typedef struct {
    uintptr_t base; /* of the window */
    uint32_t count; /* candidates, >= 1 */
    uint16_t first; /* the place of the first candidate */
    uint16_t last;  /* the place of the last one */
    uint8_t is_bitmap;
    uint8_t references; /* how many lists have it */
    size_t values_at;   /* where in data the values begin */
    size_t firsts_at;   /* where those of the first scan begin; may be equal */
    uint8_t data[1];    /* places: bits, or uint16_t; then values */
} candidate_block;

/* The type of the values, which is the same for all candidates. */
typedef struct {
    scan_type type; /* SCAN_TYPES: bytes */
    size_t width;
    size_t step;     /* addresses are multiples of this */
    size_t slots;    /* places in a window */
    int keeps_first; /* also keep the values of the first scan */
} candidate_kind;

typedef struct {
    candidate_block **blocks; /* by address */
    size_t count;
    size_t room;
    uint64_t candidates;
    uint64_t bytes;
    uint64_t lost; /* candidates that were dropped as unreadable so far */
    candidate_kind kind;
} candidate_list;

/* Makes blocks of candidates that come in the order of their addresses. */
typedef struct {
    candidate_list *list;
    uintptr_t base;
    uint32_t count;
    uint16_t first;
    uint16_t last;
    int failed; /* memory is short */
    uint64_t bits[WINDOW / 64];
    uint8_t values[VALUES_MOST];
    uint8_t *firsts; /* room for as many, or NULL; not owned */
} candidate_builder;

/* ------------------------------------------------------------------ blocks */

static size_t
block_size(const candidate_block *block, const candidate_kind *kind)
{
    size_t last = block->firsts_at > block->values_at ? block->firsts_at
                                                      : block->values_at;
    return offsetof(candidate_block, data) + last + block->count * kind->width;
}

static uintptr_t
block_address(const candidate_block *block, const candidate_kind *kind,
              size_t place)
{
    return block->base + place * kind->step;
}

/* Whether every place from first to last is a candidate, so that the values
 * are side by side in memory too. After a first scan for anything, most blocks
 * are so. */
static int
block_is_solid(const candidate_block *block, const candidate_kind *kind)
{
    return kind->width == kind->step && kind->type != SCAN_TYPES &&
           block->count == (uint32_t)block->last - block->first + 1;
}

/* List the numbers of the bits that are set, as uint16_t, ascending. Neither
 * array need be aligned. */
static void
list_bits(const void *bits, size_t words, uint8_t *places)
{
    for (size_t w = 0; w < words; w++) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)bits + w * sizeof(word), sizeof(word));
        for (; word != 0; word &= word - 1) {
            uint16_t place = (uint16_t)(w * 64 + scan_lowest_bit(word));
            memcpy(places, &place, sizeof(place));
            places += sizeof(place);
        }
    }
}

/* List the places of all candidates of a block, ascending. */
static void
block_places(const candidate_block *block, const candidate_kind *kind,
             uint16_t *places)
{
    if (block->is_bitmap) {
        list_bits(block->data, (kind->slots + 63) / 64, (uint8_t *)places);
    }
    else {
        memcpy(places, block->data, block->count * sizeof(*places));
    }
}

static void
list_clear(candidate_list *list)
{
    candidate_block **blocks = list->blocks;
    size_t count = list->count;
    list->blocks = NULL;
    list->count = 0;
    list->room = 0;
    list->candidates = 0;
    list->bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (--blocks[i]->references == 0) {
            free(blocks[i]);
        }
    }
    free(blocks);
}

/* Make room for `more` blocks. 0, or -1 without an exception. */
static int
list_grow(candidate_list *list, size_t more)
{
    if (more > list->room - list->count) {
        const size_t room = list->room * 2 + more;
        candidate_block **blocks =
            realloc(list->blocks, room * sizeof(*blocks));
        if (blocks == NULL) {
            return -1;
        }
        list->blocks = blocks;
        list->room = room;
    }
    return 0;
}

/* Append all blocks of another list, and empty that. 0, or -1 without an
 * exception. */
static int
list_move(candidate_list *list, candidate_list *from)
{
    if (list_grow(list, from->count) < 0) {
        return -1;
    }
    if (from->count > 0) {
        memcpy(list->blocks + list->count, from->blocks,
               from->count * sizeof(*from->blocks));
    }
    list->count += from->count;
    list->candidates += from->candidates;
    list->bytes += from->bytes;
    from->count = 0;
    from->candidates = 0;
    from->bytes = 0;
    return 0;
}

static int
list_append(candidate_list *list, candidate_block *block)
{
    if (list_grow(list, 1) < 0) {
        return -1;
    }
    list->blocks[list->count++] = block;
    list->candidates += block->count;
    list->bytes += block_size(block, &list->kind) + sizeof(*list->blocks);
    return 0;
}

/* Add a block with these places, values and firsts (unless NULL) to the list.
 * `from` has its base, count, first and last. 0, or -1 without an exception. */
static int
list_add(candidate_list *list, const candidate_block *from,
         const uint64_t *bits, const uint8_t *values, const uint8_t *firsts)
{
    const candidate_kind *kind = &list->kind;
    const size_t words = (kind->slots + 63) / 64;
    const size_t bitmap = words * sizeof(uint64_t);
    const size_t places = from->count * sizeof(uint16_t);
    const size_t size = from->count * kind->width;
    candidate_block header;
    memset(&header, 0, sizeof(header));
    header.base = from->base;
    header.count = from->count;
    header.first = from->first;
    header.last = from->last;
    header.is_bitmap = bitmap <= places;
    header.references = 1;
    header.values_at = ((header.is_bitmap ? bitmap : places) + 7) & ~(size_t)7;
    header.firsts_at = header.values_at;
    if (firsts != NULL && memcmp(firsts, values, size) != 0) {
        header.firsts_at += size;
    }
    candidate_block *block = malloc(block_size(&header, kind));
    if (block == NULL) {
        return -1;
    }
    memcpy(block, &header, offsetof(candidate_block, data));
    if (header.is_bitmap) {
        memcpy(block->data, bits, bitmap);
    }
    else {
        list_bits(bits, words, block->data);
    }
    memcpy(block->data + header.values_at, values, size);
    if (header.firsts_at != header.values_at) {
        memcpy(block->data + header.firsts_at, firsts, size);
    }
    if (list_append(list, block) < 0) {
        free(block);
        return -1;
    }
    return 0;
}

/* Make a block of the candidates so far, and begin with none. */
static void
builder_flush(candidate_builder *builder)
{
    if (builder->count == 0) {
        return;
    }
    candidate_block header;
    memset(&header, 0, sizeof(header));
    header.base = builder->base;
    header.count = builder->count;
    header.first = builder->first;
    header.last = builder->last;
    if (list_add(builder->list, &header, builder->bits, builder->values,
                 builder->firsts) < 0) {
        builder->failed = 1;
    }
    memset(builder->bits, 0, sizeof(builder->bits));
    builder->count = 0;
}

/* Begin a new block unless the address belongs to the current one. */
static void
builder_turn_to(candidate_builder *builder, uintptr_t address)
{
    uintptr_t base = address & ~(uintptr_t)(WINDOW - 1);
    if (builder->count == 0 || base != builder->base) {
        builder_flush(builder);
        builder->base = base;
        builder->first =
            (uint16_t)((address - base) / builder->list->kind.step);
    }
}

static void
builder_add(candidate_builder *builder, uintptr_t address,
            const uint8_t *value, const uint8_t *first)
{
    const candidate_kind *kind = &builder->list->kind;
    if ((builder->count + 1) * kind->width > VALUES_MOST) {
        builder_flush(builder);
    }
    builder_turn_to(builder, address);
    size_t place = (size_t)(address - builder->base) / kind->step;
    builder->bits[place / 64] |= (uint64_t)1 << (place % 64);
    memcpy(builder->values + builder->count * kind->width, value, kind->width);
    if (builder->firsts != NULL) {
        memcpy(builder->firsts + builder->count * kind->width, first,
               kind->width);
    }
    builder->last = (uint16_t)place;
    builder->count++;
}

/* Add n <= 64 candidates that are side by side in one window. width and step
 * are equal. */
static void
builder_add_run(candidate_builder *builder, uintptr_t address,
                const uint8_t *values, size_t n)
{
    const candidate_kind *kind = &builder->list->kind;
    builder_turn_to(builder, address);
    size_t place = (size_t)(address - builder->base) / kind->step;
    scan_set_bits(builder->bits, place,
                  n == 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1);
    memcpy(builder->values + builder->count * kind->width, values,
           n * kind->width);
    builder->last = (uint16_t)(place + n - 1);
    builder->count += (uint32_t)n;
}

/* --------------------------------------------------------------- instance */

typedef struct {
    PyObject_HEAD
    PyObject *process; /* NULL once closed */
    candidate_list list;
    candidate_list history[HISTORY_MOST]; /* earlier lists, the newest last */
    size_t history_count;
    uint64_t history_room; /* the most bytes of the history */
    uint64_t scanned;      /* bytes of the first scan */
    uint64_t skipped;
    uint64_t version; /* counts the changes */
    int busy;         /* a rescan is running */
} CandidatesObject;

static uint64_t
history_bytes(const CandidatesObject *self)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < self->history_count; i++) {
        bytes += self->history[i].bytes;
    }
    return bytes;
}

/* Forget the oldest list of the history. */
static void
history_drop(CandidatesObject *self)
{
    candidate_list oldest = self->history[0];
    self->history_count--;
    memmove(&self->history[0], &self->history[1],
            self->history_count * sizeof(*self->history));
    list_clear(&oldest);
}

/* Put the set's last list into the history, if it is not too large for that. */
static void
history_push(CandidatesObject *self, candidate_list *list)
{
    if (self->history_count == HISTORY_MOST) {
        history_drop(self);
    }
    self->history[self->history_count++] = *list;
    while (self->history_count > 0 &&
           history_bytes(self) > self->history_room) {
        history_drop(self);
    }
}

static void
candidates_release(CandidatesObject *self)
{
    PyObject *process = self->process;
    self->process = NULL;
    self->version++;
    list_clear(&self->list);
    while (self->history_count > 0) {
        history_drop(self);
    }
    Py_XDECREF(process);
}

static int
candidates_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((CandidatesObject *)op)->process);
    return 0;
}

static int
candidates_clear(PyObject *op)
{
    Py_CLEAR(((CandidatesObject *)op)->process);
    return 0;
}

static void
candidates_finalize(PyObject *op)
{
    if (((CandidatesObject *)op)->busy) { /* __del__() is callable */
        return;
    }
    WI_KEEP_ERROR
    candidates_release((CandidatesObject *)op);
    WI_END_KEEP_ERROR
}

static int
candidates_check_open(CandidatesObject *self)
{
    wi_process *process = (wi_process *)self->process;
    return wi_check_open(self, process) < 0
               ? -1
               : wi_check_open(process, process->handle);
}

/* -------------------------------------------------------------- first scan */

/* Make candidates of the matches of a scanned block. */
static void
builder_look(candidate_builder *builder, wi_scan_task *task)
{
    const candidate_kind *kind = &builder->list->kind;
    /* A bit for each aligned place of 64 addresses, from bit 0 on. */
    uint64_t every = 0;
    if (kind->width == kind->step && kind->type != SCAN_TYPES) {
        for (size_t bit = 0; bit < 64; bit += kind->step) {
            every |= (uint64_t)1 << bit;
        }
    }
    for (size_t w = 0; w < SCAN_WORDS; w++) {
        uint64_t word = task->hits.bits[w];
        if (word == 0) {
            continue;
        }
        const uint8_t *data = task->block + w * 64;
        uintptr_t address = task->block_address + w * 64;
        unsigned bit = scan_lowest_bit(word);
        if (every != 0 && bit < kind->step && word == every << bit &&
            (address + bit) % WINDOW <= WINDOW - 64) {
            builder_add_run(builder, address + bit, data + bit,
                            64 / kind->step);
            continue;
        }
        for (; word != 0; word &= word - 1) {
            bit = scan_lowest_bit(word);
            builder_add(builder, address + bit, data + bit, NULL);
        }
    }
    scan_discard(&task->hits);
}

/* A task's own part. */
typedef struct {
    candidate_list list;
    candidate_builder builder;
} candidate_part;

static int
candidates_look(wi_scan *scan, wi_scan_task *task, void *own)
{
    candidate_part *part = own;
    part->list.kind = ((CandidatesObject *)scan->context)->list.kind;
    part->builder.list = &part->list;
    builder_look(&part->builder, task);
    return 1;
}

static void
candidates_end_part(wi_scan *Py_UNUSED(scan), wi_scan_task *task, void *own)
{
    candidate_part *part = own;
    if (part->builder.list != NULL) {
        builder_flush(&part->builder);
    }
    if (part->builder.failed) {
        task->span.err = ERROR_NOT_ENOUGH_MEMORY;
    }
}

static int
candidates_take_part(wi_scan *scan, wi_scan_task *task, void *own)
{
    candidate_part *part = own;
    if (list_move(&((CandidatesObject *)scan->context)->list, &part->list) <
        0) {
        task->span.err = ERROR_NOT_ENOUGH_MEMORY;
    }
    return 1;
}

static void
candidates_clear_part(void *own)
{
    list_clear(&((candidate_part *)own)->list);
}

static const wi_scan_user candidates_user = {
    .own_size = sizeof(candidate_part),
    .look = candidates_look,
    .end = candidates_end_part,
    .take = candidates_take_part,
    .clear = candidates_clear_part,
};

/* An empty set of a process; NULL with an exception. */
static CandidatesObject *
candidates_new(PyTypeObject *type, int kind, size_t width, uint32_t step,
               int keeps_first, uint64_t history_room)
{
    if (kind < 0 || kind > SCAN_TYPES || width == 0 ||
        width > SCAN_MAX_LENGTH ||
        (kind < SCAN_TYPES ? width != scan_type_size((scan_type)kind)
                           : keeps_first)) {
        PyErr_SetString(PyExc_ValueError, "no such type");
        return NULL;
    }
    /* A bitmap has no bits for places between two steps. */
    if (step == 0 || step > 64 || (step & (step - 1)) != 0) {
        PyErr_SetString(PyExc_ValueError, "the alignment is above 64");
        return NULL;
    }
    CandidatesObject *self = wi_alloc(type);
    if (self != NULL) {
        self->history_room = history_room;
        self->list.kind.type = (scan_type)kind;
        self->list.kind.width = width;
        self->list.kind.step = step;
        self->list.kind.slots = WINDOW / step;
        self->list.kind.keeps_first = keeps_first;
    }
    return self;
}

static PyObject *
candidates_create(PyObject *cls, PyObject *args)
{
    PyObject *process, *specs, *progress;
    const char *ranges;
    Py_ssize_t size;
    DWORD protections;
    uint64_t history_room;
    unsigned threads;
    int type, keeps_first, result = -1;
    CandidatesObject *self = NULL;
    wi_scan scan;
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    memset(&scan, 0, sizeof(scan));
    if (state == NULL ||
        !PyArg_ParseTuple(args, "Oy#O&OipO&OO&:_create", &process, &ranges,
                          &size, wi_u32_converter, &protections, &specs, &type,
                          &keeps_first, wi_u64_converter, &history_room,
                          &progress, wi_threads_converter, &threads)) {
        return NULL;
    }
    scan.user = &candidates_user;
    scan.progress = progress;
    if (wi_scan_compile(&scan, specs) < 0) {
        goto done;
    }
    self = candidates_new(
        (PyTypeObject *)cls, type, scan_set_longest(scan.set),
        scan_set_alignment(scan.set), keeps_first, history_room);
    if (self == NULL) {
        goto done;
    }
    scan.context = self;
    if (wi_scan_open_process(&scan, state, process, ranges, size, protections,
                             threads) < 0) {
        goto done;
    }
    wi_scan_result found;
    do {
        found = wi_scan_slice(&scan);
    } while (found == WI_SCAN_MORE);
    if (found == WI_SCAN_FAILED) {
        wi_scan_raise(process, scan.err, scan.api);
    }
    else if (found != WI_SCAN_RAISED) {
        self->process = Py_NewRef(process);
        self->scanned = scan.scanned;
        self->skipped = scan.skipped;
        result = 0;
    }
done:
    wi_scan_clear(&scan);
    if (result < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* ----------------------------------------------------------------- rescans */

/* What all threads of a rescan share. */
typedef struct {
    const candidate_list *from;
    candidate_list to; /* if values are bytes, their length may change */
    HANDLE target;
    scan_level level;
    scan_change change;
    int since_first; /* compare with the values of the first scan */
    int negate;
    scan_number low;
    scan_number high;
    scan_set *set; /* the pattern that bytes have to match, or NULL */
    size_t next;   /* the block that is claimed next */
    uint64_t seen; /* candidates that were compared */
    uint64_t lost;
    DWORD err; /* if the target is gone or unreadable, or memory is short */
    volatile LONG some;
} candidate_rescan;

/* What one thread rescans at a time: blocks that are near to each other. */
typedef struct {
    size_t first;
    size_t count;
    uintptr_t start; /* of the first candidate */
    uintptr_t end;
    candidate_list to;
    uint64_t seen;
    uint64_t lost;
    DWORD err;
    scan_hits hits; /* of the set, if it has one */
    candidate_builder builder;
    /* The last value may reach far beyond the end. */
    uint8_t read[WI_READ_CHUNK + WINDOW + SCAN_MAX_LENGTH];
    uint8_t now[VALUES_MOST]; /* numbers of one block, side by side */
    uint8_t firsts[VALUES_MOST];
    uint16_t places[WINDOW];
    uint64_t keep[WINDOW / 64];
    uint8_t pages[(WI_READ_CHUNK + WINDOW + SCAN_MAX_LENGTH) / WI_PAGE + 2];
} candidate_group;

static void
gather(uint8_t *to, const uint8_t *from, const uint16_t *places, size_t first,
       size_t n, size_t width, size_t step)
{
    switch (width) {
#define GATHER_CASE(width)                                                    \
    case width:                                                               \
        for (size_t i = 0; i < n; i++) {                                      \
            memcpy(to + i * (width), from + (places[i] - first) * step,       \
                   (width));                                                  \
        }                                                                     \
        break;
        GATHER_CASE(1)
        GATHER_CASE(2)
        GATHER_CASE(4)
        GATHER_CASE(8)
#undef GATHER_CASE
    default:
        break;
    }
}

/* Compare the bytes of a block's candidates in `data` with the last ones, or
 * with the pattern. */
static void
rescan_compare_bytes(const candidate_rescan *rescan, candidate_group *group,
                     const candidate_block *block, const uint8_t *data)
{
    const candidate_kind *kind = &rescan->from->kind;
    const size_t width = rescan->to.kind.width;
    memset(group->keep, 0, (block->count + 63) / 64 * sizeof(*group->keep));
    for (size_t i = 0; i < block->count; i++) {
        const size_t at = (group->places[i] - block->first) * kind->step;
        int keep;
        if (rescan->set != NULL) {
            keep = scan_block(rescan->set, &group->hits, data + at, width, 1,
                              0) > 0;
            scan_discard(&group->hits);
        }
        else {
            keep =
                memcmp(data + at, block->data + block->values_at + i * width,
                       width) == 0;
            keep ^= rescan->change == SCAN_CHANGED;
        }
        group->keep[i / 64] |= (uint64_t)keep << (i % 64);
    }
}

/* Drop the candidates whose pages could not be read. The mask has a byte for
 * each page from that of the first candidate on. */
static void
rescan_drop_lost(const candidate_rescan *rescan, candidate_group *group,
                 const candidate_block *block, int solid, const uint8_t *mask)
{
    const candidate_kind *kind = &rescan->from->kind;
    const uintptr_t page = block_address(block, kind, block->first) / WI_PAGE;
    for (size_t i = 0; i < block->count; i++) {
        size_t place = solid ? block->first + i : group->places[i];
        uintptr_t at = block_address(block, kind, place);
        uintptr_t end = at + rescan->to.kind.width - 1;
        int lost = 0;
        for (uintptr_t p = at / WI_PAGE; p <= end / WI_PAGE; p++) {
            lost |= !mask[p - page];
        }
        if (lost) {
            group->keep[i / 64] &= ~((uint64_t)1 << (i % 64));
            group->lost++;
        }
    }
}

/* Keep a block of which all candidates stay, with their values of now. 0, or
 * -1 without an exception. */
static int
rescan_keep_block(const candidate_rescan *rescan, candidate_group *group,
                  candidate_block *block, const uint8_t *now)
{
    const candidate_kind *kind = &rescan->from->kind;
    const size_t size = block->count * kind->width;
    /* Comparing all values once more would cost as much as the rescan did. */
    const int known_same = rescan->change == SCAN_UNCHANGED &&
                           !rescan->negate && !rescan->since_first;
    if (known_same || memcmp(now, block->data + block->values_at, size) == 0) {
        block->references++; /* nothing has changed: both lists have it */
        if (list_append(&group->to, block) < 0) {
            block->references--;
            return -1;
        }
        return 0;
    }
    uint64_t *bits = group->builder.bits; /* all 0, since it is empty */
    if (block->is_bitmap) {
        memcpy(bits, block->data, block->values_at);
    }
    else {
        for (size_t i = 0; i < block->count; i++) {
            bits[group->places[i] / 64] |= (uint64_t)1
                                           << (group->places[i] % 64);
        }
    }
    int result =
        list_add(&group->to, block, bits, now,
                 kind->keeps_first ? block->data + block->firsts_at : NULL);
    memset(bits, 0, sizeof(group->builder.bits));
    return result;
}

/* Compare one block with `data`, the memory from its first candidate on. The
 * mask has a byte for each page, 1 if it was read; NULL if all were read. */
static void
rescan_block(const candidate_rescan *rescan, candidate_group *group,
             candidate_block *block, const uint8_t *data, const uint8_t *mask)
{
    const candidate_kind *kind = &rescan->from->kind;
    const int is_bytes = kind->type == SCAN_TYPES;
    const size_t n = block->count;
    const uint8_t *firsts = block->data + block->firsts_at;
    const uint8_t *now = group->now;
    const int solid = block_is_solid(block, kind);
    group->seen += n;
    if (!solid || !block->is_bitmap) {
        block_places(block, kind, group->places);
    }
    if (is_bytes) {
        rescan_compare_bytes(rescan, group, block, data);
    }
    else {
        if (solid) {
            now = data;
        }
        else {
            gather(group->now, data, group->places, block->first, n,
                   kind->width, kind->step);
        }
        scan_compare(rescan->level, kind->type, rescan->change, now,
                     rescan->since_first ? firsts
                                         : block->data + block->values_at,
                     n, rescan->low, rescan->high, group->keep);
    }
    if (rescan->negate) {
        scan_invert(group->keep, n);
    }
    if (mask != NULL) {
        rescan_drop_lost(rescan, group, block, solid, mask);
    }
    int some = 0, all = 1;
    for (size_t at = 0; at < n; at += 64) {
        uint64_t word = group->keep[at / 64];
        some |= word != 0;
        all &= word ==
               (n - at >= 64 ? UINT64_MAX : ((uint64_t)1 << (n - at)) - 1);
    }
    if (!some) {
        return;
    }
    if (all && !is_bytes) {
        if (rescan_keep_block(rescan, group, block, now) < 0) {
            group->err = ERROR_NOT_ENOUGH_MEMORY;
        }
        return;
    }
    if (solid && block->is_bitmap) {
        block_places(block, kind, group->places);
    }
    for (size_t w = 0; w < (n + 63) / 64; w++) {
        for (uint64_t word = group->keep[w]; word != 0; word &= word - 1) {
            size_t i = w * 64 + scan_lowest_bit(word);
            size_t at = (group->places[i] - block->first) * kind->step;
            builder_add(&group->builder,
                        block_address(block, kind, group->places[i]),
                        is_bytes ? data + at : now + i * kind->width,
                        firsts + i * kind->width);
        }
    }
    builder_flush(&group->builder);
    if (group->builder.failed) {
        group->err = ERROR_NOT_ENOUGH_MEMORY;
    }
}

/* Mark the pages that a block has values in. */
static void
rescan_touch(const candidate_rescan *rescan, candidate_group *group,
             const candidate_block *block)
{
    const candidate_kind *kind = &rescan->from->kind;
    const size_t width = rescan->to.kind.width;
    const uintptr_t page = group->start / WI_PAGE;
    if (block_is_solid(block, kind)) {
        uintptr_t from = block_address(block, kind, block->first);
        uintptr_t last = block_address(block, kind, block->last) + width - 1;
        memset(group->pages + (from / WI_PAGE - page), 1,
               last / WI_PAGE - from / WI_PAGE + 1);
        return;
    }
    block_places(block, kind, group->places);
    for (size_t i = 0; i < block->count; i++) {
        uintptr_t at = block_address(block, kind, group->places[i]);
        uintptr_t last = at + width - 1;
        memset(group->pages + (at / WI_PAGE - page), 1,
               last / WI_PAGE - at / WI_PAGE + 1);
    }
}

/* wi_crew_duty: the next blocks that lie near to each other. */
static int
rescan_claim(void *context, void *task)
{
    candidate_rescan *rescan = context;
    candidate_group *group = task;
    const candidate_kind *kind = &rescan->from->kind;
    candidate_block **blocks = rescan->from->blocks;
    size_t i = rescan->next;
    if (i == rescan->from->count) {
        return 0;
    }
    group->first = i;
    group->start = block_address(blocks[i], kind, blocks[i]->first);
    for (; i < rescan->from->count; i++) {
        uintptr_t to = block_address(blocks[i], kind, blocks[i]->last) +
                       rescan->to.kind.width;
        if (i > group->first && to - group->start > WI_READ_CHUNK) {
            break;
        }
        group->end = to;
    }
    group->count = i - group->first;
    rescan->next = i;
    return 1;
}

/* wi_crew_duty: read the values, and keep the candidates that stay. */
static void
rescan_work(void *context, void *task, unsigned Py_UNUSED(thread))
{
    candidate_rescan *rescan = context;
    candidate_group *group = task;
    const candidate_kind *kind = &rescan->from->kind;
    candidate_block **blocks = rescan->from->blocks + group->first;
    BOOL whole;
    group->to.kind = rescan->to.kind;
    group->builder.list = &group->to;
    group->builder.firsts = kind->keeps_first ? group->firsts : NULL;
    group->seen = 0;
    group->lost = 0;
    memset(group->pages, 0, sizeof(group->pages));
    for (size_t i = 0; i < group->count; i++) {
        rescan_touch(rescan, group, blocks[i]);
    }
    if (rescan->set != NULL && group->hits.bits == NULL &&
        scan_hits_init(&group->hits, rescan->set) < 0) {
        group->err = ERROR_NOT_ENOUGH_MEMORY;
        return;
    }
    group->err =
        wi_read_pages(rescan->target, group->start, group->end, group->read,
                      group->pages, FALSE, &rescan->some, &whole);
    for (size_t i = 0; i < group->count && group->err == 0; i++) {
        uintptr_t from = block_address(blocks[i], kind, blocks[i]->first);
        const uint8_t *mask =
            group->pages + (from / WI_PAGE - group->start / WI_PAGE);
        rescan_block(rescan, group, blocks[i],
                     group->read + (from - group->start), whole ? NULL : mask);
    }
}

/* wi_crew_duty: take a group, on the caller's thread, in order. */
static int
rescan_take(void *context, void *task)
{
    candidate_rescan *rescan = context;
    candidate_group *group = task;
    rescan->seen += group->seen;
    rescan->lost += group->lost;
    rescan->err = group->err;
    if (rescan->err == 0 && list_move(&rescan->to, &group->to) < 0) {
        rescan->err = ERROR_NOT_ENOUGH_MEMORY;
    }
    return rescan->err == 0;
}

static void
rescan_clear(void *Py_UNUSED(context), void *task)
{
    candidate_group *group = task;
    scan_hits_clear(&group->hits);
    list_clear(&group->to);
}

static const wi_crew_duty rescan_duty = {
    .claim = rescan_claim,
    .work = rescan_work,
    .take = rescan_take,
    .clear = rescan_clear,
};

/* Parse what to compare with: two numbers, or the tuple of a pattern. */
static int
rescan_parse(candidate_rescan *rescan, PyObject *limits)
{
    const char *low, *high;
    Py_ssize_t low_size, high_size;
    const candidate_kind *kind = &rescan->from->kind;
    int good = (unsigned)rescan->change < SCAN_CHANGES &&
               (!rescan->since_first || kind->keeps_first);
    if (kind->type == SCAN_TYPES) {
        if (rescan->change == SCAN_WITHIN) {
            wi_scan scan; /* only to compile */
            memset(&scan, 0, sizeof(scan));
            int compiled = wi_scan_compile(&scan, limits);
            rescan->set = scan.set;
            if (compiled < 0) {
                return -1;
            }
            rescan->to.kind.width = scan_set_longest(rescan->set);
        }
        good &= rescan->change == SCAN_WITHIN ||
                rescan->change == SCAN_CHANGED ||
                rescan->change == SCAN_UNCHANGED;
    }
    else if (!PyArg_ParseTuple(limits, "y#y#", &low, &low_size, &high,
                               &high_size)) {
        return -1;
    }
    else if (low_size != sizeof(scan_number) ||
             high_size != sizeof(scan_number)) {
        good = 0;
    }
    else {
        memcpy(&rescan->low, low, sizeof(rescan->low));
        memcpy(&rescan->high, high, sizeof(rescan->high));
    }
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "no such change or limits");
        return -1;
    }
    return 0;
}

/* Read and compare all candidates. */
static wi_progress_result
rescan_run(CandidatesObject *self, candidate_rescan *rescan,
           PyObject *progress, unsigned threads)
{
    wi_process *owner = (wi_process *)self->process;
    wi_progress_result go_on = WI_PROGRESS_GO_ON;
    wi_crew *crew = wi_crew_new(&rescan_duty, rescan, wi_thread_count(threads),
                                sizeof(candidate_group));
    if (crew == NULL) {
        PyErr_NoMemory();
        return WI_PROGRESS_RAISED;
    }
    for (wi_crew_result how = WI_CREW_MORE;
         how != WI_CREW_END && go_on == WI_PROGRESS_GO_ON;) {
        if (wi_check_open(owner, owner->handle) < 0) {
            go_on = WI_PROGRESS_RAISED;
            break;
        }
        rescan->target = wi_process_pin(owner);
        Py_BEGIN_ALLOW_THREADS
        how = wi_crew_run(crew, WI_SLICE_MS);
        Py_END_ALLOW_THREADS
        wi_process_unpin(owner);
        if (rescan->err != 0) {
            wi_scan_raise(self->process, rescan->err, "ReadProcessMemory");
            go_on = WI_PROGRESS_RAISED;
            break;
        }
        go_on =
            wi_scan_progress(progress, rescan->seen, self->list.candidates);
    }
    wi_crew_free(crew);
    return go_on;
}

/* ValueError if the set is closed, or a rescan is running. */
static int
candidates_check_idle(CandidatesObject *self)
{
    if (candidates_check_open(self) < 0) {
        return -1;
    }
    if (self->busy) {
        PyErr_SetString(PyExc_ValueError,
                        "a rescan is running in another thread");
        return -1;
    }
    return 0;
}

static PyObject *
candidates_rescan(PyObject *op, PyObject *args)
{
    CandidatesObject *self = (CandidatesObject *)op;
    int change, since_first, negate;
    unsigned threads;
    PyObject *limits, *progress, *result = NULL;
    if (!PyArg_ParseTuple(args, "iOppOO&:_rescan", &change, &limits,
                          &since_first, &negate, &progress,
                          wi_threads_converter, &threads) ||
        candidates_check_idle(self) < 0) {
        return NULL;
    }
    candidate_rescan rescan = {
        .from = &self->list,
        .to = {.kind = self->list.kind},
        .level = scan_best_level(),
        .change = (scan_change)change,
        .since_first = since_first,
        .negate = negate,
        .some = 1, /* the first scan has read something */
    };
    self->busy = 1;
    if (rescan_parse(&rescan, limits) < 0) {
        goto done;
    }
    wi_progress_result go_on = rescan_run(self, &rescan, progress, threads);
    if (go_on != WI_PROGRESS_GO_ON) {
        result = go_on == WI_PROGRESS_STOP ? Py_NewRef(Py_False) : NULL;
        goto done;
    }
    rescan.to.lost = self->list.lost + rescan.lost;
    history_push(self, &self->list);
    self->list = rescan.to;
    memset(&rescan.to, 0, sizeof(rescan.to));
    self->version++;
    result = Py_NewRef(Py_None);
done:
    list_clear(&rescan.to);
    scan_set_free(rescan.set);
    self->busy = 0;
    return result;
}

static PyObject *
candidates_undo(PyObject *op, PyObject *Py_UNUSED(unused))
{
    CandidatesObject *self = (CandidatesObject *)op;
    if (candidates_check_idle(self) < 0) {
        return NULL;
    }
    if (self->history_count == 0) {
        Py_RETURN_FALSE;
    }
    candidate_list undone = self->list;
    self->list = self->history[--self->history_count];
    self->version++;
    list_clear(&undone);
    Py_RETURN_NONE;
}

/* -------------------------------------------------------- from elsewhere */

static PyObject *
candidates_empty(PyObject *cls, PyObject *args)
{
    PyObject *process;
    Py_ssize_t width;
    DWORD step;
    int type, keeps_first;
    uint64_t history_room;
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    if (state == NULL ||
        !PyArg_ParseTuple(args, "O!inO&pO&:_empty", state->process_type,
                          &process, &type, &width, wi_u32_converter, &step,
                          &keeps_first, wi_u64_converter, &history_room)) {
        return NULL;
    }
    wi_process *target = (wi_process *)process;
    if (wi_check_open(target, target->handle) < 0) {
        return NULL;
    }
    CandidatesObject *self =
        candidates_new((PyTypeObject *)cls, type, (size_t)width, step,
                       keeps_first, history_room);
    if (self != NULL) {
        self->process = Py_NewRef(process);
    }
    return (PyObject *)self;
}

/* Put the places of a block into bits and its header. Whether they ascend and
 * are in the window. */
static int
block_read_places(candidate_block *header, const candidate_kind *kind,
                  const char *places, uint64_t *bits)
{
    uint16_t place = 0;
    for (uint32_t i = 0; i < header->count; i++) {
        memcpy(&place, places + i * sizeof(place), sizeof(place));
        if (place >= kind->slots || (i > 0 && place <= header->last)) {
            return 0;
        }
        if (i == 0) {
            header->first = place;
        }
        header->last = place;
        bits[place / 64] |= (uint64_t)1 << (place % 64);
    }
    return 1;
}

static PyObject *
candidates_put(PyObject *op, PyObject *args)
{
    CandidatesObject *self = (CandidatesObject *)op;
    candidate_list *list = &self->list;
    const candidate_kind *kind = &list->kind;
    uint64_t base;
    const char *places, *values, *firsts;
    Py_ssize_t places_size, values_size, firsts_size;
    static const size_t words = WINDOW / 64;
    if (!PyArg_ParseTuple(args, "O&y#y#z#:_put", wi_u64_converter, &base,
                          &places, &places_size, &values, &values_size,
                          &firsts, &firsts_size) ||
        candidates_check_idle(self) < 0) {
        return NULL;
    }
    candidate_block header;
    memset(&header, 0, sizeof(header));
    header.base = (uintptr_t)base;
    const size_t count = (size_t)places_size / sizeof(uint16_t);
    const size_t most = VALUES_MOST / kind->width;
    header.count = (uint32_t)(count < most ? count : most);
    const size_t size = header.count * kind->width;
    uint64_t *bits = calloc(words, sizeof(*bits));
    if (bits == NULL) {
        return PyErr_NoMemory();
    }
    int good = base <= UINTPTR_MAX && base % WINDOW == 0 &&
               (size_t)places_size % sizeof(uint16_t) == 0 && count >= 1 &&
               count <= kind->slots && count <= most &&
               (size_t)values_size == size &&
               (firsts == NULL ||
                (kind->keeps_first && (size_t)firsts_size == size)) &&
               block_read_places(&header, kind, places, bits);
    if (good) {
        /* The block must come after all others. A rescan may ask for longer
         * bytes, and these must not reach beyond the last address. */
        uintptr_t end = block_address(&header, kind, header.last);
        good = UINTPTR_MAX - end >= SCAN_MAX_LENGTH;
        if (list->count > 0) {
            const candidate_block *last = list->blocks[list->count - 1];
            good &= block_address(&header, kind, header.first) >
                    block_address(last, kind, last->last);
        }
    }
    int added = good ? list_add(list, &header, bits, (const uint8_t *)values,
                                (const uint8_t *)firsts)
                     : 0;
    free(bits);
    if (!good) {
        PyErr_SetString(PyExc_ValueError,
                        "candidates must be ascending, and each as wide as "
                        "the set says");
        return NULL;
    }
    if (added < 0) {
        return PyErr_NoMemory();
    }
    self->version++;
    Py_RETURN_NONE;
}

/* ----------------------------------------------------------------- access */

static PyObject *
candidates_take(PyObject *op, PyObject *args)
{
    CandidatesObject *self = (CandidatesObject *)op;
    const candidate_kind *kind = &self->list.kind;
    Py_ssize_t number;
    unsigned long long version;
    int wants_firsts;
    if (!PyArg_ParseTuple(args, "nKp:_take", &number, &version,
                          &wants_firsts)) {
        return NULL;
    }
    if (version != self->version) {
        PyErr_SetString(PyExc_RuntimeError,
                        "CandidateSet was changed while it was iterated");
        return NULL;
    }
    if (number < 0 || (size_t)number >= self->list.count) {
        Py_RETURN_NONE;
    }
    const candidate_block *block = self->list.blocks[number];
    const unsigned long long base = block->base;
    const size_t n = block->count;
    /* Making bytes runs no Python code. Making the tuple may, and that may
     * rescan: so the block is not used after that. */
    PyObject *places =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(n * sizeof(uint16_t)));
    PyObject *values = PyBytes_FromStringAndSize(
        (const char *)block->data +
            (wants_firsts ? block->firsts_at : block->values_at),
        (Py_ssize_t)(n * kind->width));
    if (places == NULL || values == NULL) {
        Py_XDECREF(places);
        Py_XDECREF(values);
        return NULL;
    }
    block_places(block, kind, (uint16_t *)PyBytes_AsString(places));
    return Py_BuildValue("KINN", base, (unsigned)kind->step, places, values);
}

static Py_ssize_t
candidates_length(PyObject *op)
{
    return (Py_ssize_t)((CandidatesObject *)op)->list.candidates;
}

PyDoc_STRVAR(candidates_close_doc,
             "close($self, /)\n--\n\n"
             "Free the candidates and release the process; twice is\n"
             "harmless.\n\n"
             "Raises:\n"
             "    BufferError: Another thread rescans.\n\n"
             "Win32: none.");

static PyObject *
candidates_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    CandidatesObject *self = (CandidatesObject *)op;
    if (self->busy) {
        PyErr_SetString(PyExc_BufferError,
                        "cannot close a CandidateSet while it is rescanned");
        return NULL;
    }
    candidates_release(self);
    Py_RETURN_NONE;
}

static PyMethodDef candidates_methods[] = {
    {"_create", candidates_create, METH_VARARGS | METH_CLASS,
     PyDoc_STR("_create($type, process, ranges, protections, specs, type,\n"
               "        keep_first, undo_bytes, progress, threads, /)\n--\n\n"
               "A set of what a scan for one pattern finds.\n\n"
               "Win32: VirtualQueryEx, ReadProcessMemory")},
    {"_empty", candidates_empty, METH_VARARGS | METH_CLASS,
     PyDoc_STR("_empty($type, process, type, width, step, keep_first,\n"
               "       undo_bytes, /)\n--\n\n"
               "A set without candidates.")},
    {"_put", candidates_put, METH_VARARGS,
     PyDoc_STR("_put($self, base, places, values, firsts, /)\n--\n\n"
               "Add a block, as _take returns it, after all others.")},
    {"_rescan", candidates_rescan, METH_VARARGS,
     PyDoc_STR("_rescan($self, change, limits, since_first, negate,\n"
               "        progress, threads, /)\n--\n\n"
               "None, or False when progress() ended it.\n\n"
               "Win32: ReadProcessMemory, VirtualQueryEx")},
    {"_undo", candidates_undo, METH_NOARGS,
     PyDoc_STR("_undo($self, /)\n--\n\n"
               "None, or False when there is nothing to undo.")},
    {"_take", candidates_take, METH_VARARGS,
     PyDoc_STR("_take($self, block, version, firsts, /)\n--\n\n"
               "(base, step, places, values), or None after the last block.")},
    {"close", candidates_close, METH_NOARGS, candidates_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
candidates_get_nbytes(PyObject *op, void *Py_UNUSED(closure))
{
    CandidatesObject *self = (CandidatesObject *)op;
    return PyLong_FromUnsignedLongLong(self->list.bytes + history_bytes(self));
}

static PyGetSetDef candidates_getset[] = {
    {"nbytes", candidates_get_nbytes, NULL,
     "Bytes of memory of the set and its history. It may be less: lists\n"
     "share the blocks that did not change.",
     NULL},
    {"closed", wi_get_closed, NULL, "Whether close() was called.",
     (void *)offsetof(CandidatesObject, process)},
    {NULL, NULL, NULL, NULL, NULL},
};

#define CANDIDATES_COUNT(name, field, doc)                                    \
    {name, T_ULONGLONG, offsetof(CandidatesObject, field), Py_READONLY, doc}

static PyMemberDef candidates_members[] = {
    CANDIDATES_COUNT("scanned", scanned, "Bytes that the first scan read."),
    CANDIDATES_COUNT("skipped", skipped,
                     "Bytes of committed memory that the first scan left "
                     "out."),
    CANDIDATES_COUNT("lost", list.lost,
                     "Candidates that were dropped since their memory could "
                     "not be read."),
    {"_lost", T_ULONGLONG, offsetof(CandidatesObject, list.lost), 0, NULL},
    {"_process", T_OBJECT, offsetof(CandidatesObject, process), Py_READONLY,
     NULL},
    CANDIDATES_COUNT("_version", version, NULL),
    {"_type", T_UINT, offsetof(CandidatesObject, list.kind.type), Py_READONLY,
     NULL},
    {"_width", T_PYSSIZET, offsetof(CandidatesObject, list.kind.width),
     Py_READONLY, NULL},
    {"_step", T_PYSSIZET, offsetof(CandidatesObject, list.kind.step),
     Py_READONLY, NULL},
    {"_keeps_first", T_INT, offsetof(CandidatesObject, list.kind.keeps_first),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(candidates_doc, "The raw set behind winipc.CandidateSet.");

static PyType_Slot candidates_slots[] = {
    {Py_tp_doc, (void *)candidates_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_finalize, candidates_finalize},
    {Py_tp_traverse, candidates_traverse},
    {Py_tp_clear, candidates_clear},
    {Py_tp_methods, candidates_methods},
    {Py_tp_getset, candidates_getset},
    {Py_tp_members, candidates_members},
    {Py_sq_length, candidates_length},
    {0, NULL},
};

static PyType_Spec candidates_spec = {
    .name = "winipc._core.CandidateSet",
    .basicsize = sizeof(CandidatesObject),
    .flags = WI_TYPE_FLAGS,
    .slots = candidates_slots,
};

int
wi_candidates_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return wi_add_type(module, &candidates_spec, NULL);
}
