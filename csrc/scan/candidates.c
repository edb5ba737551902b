/* candidates.c: CandidateSet, addresses whose values are followed.
 *
 *     with CandidateSet.scan(process, "i32", equals=100) as found:
 *         input("now the number is 97")
 *         if found.rescan("by", -3) == 1:
 *             [(address, value)] = found.items()
 *
 * A first scan (scan.h) fills the set; a rescan reads the values once more,
 * compares them with the last ones and keeps the candidates that changed as
 * asked. Millions of candidates are kept in blocks, one for each WINDOW of
 * addresses that has any: a bitmap or a list of places, whichever is smaller,
 * and the values. A rescan makes new blocks beside the old ones and shares
 * those that stay as they are; the set changes only when all has succeeded.
 *
 * Owner: a set owns its blocks and a reference to its process. Threads: any;
 * one rescans at a time, and others see the old state until it is done. GIL:
 * released in slices. */
#include "scan.h"

#include "base/handles.h"

#include <stdlib.h>

#define WINDOW 65536 /* addresses of one block */
#define WIDEST 8     /* bytes of a value */

typedef struct {
    uintptr_t base; /* of the window */
    uint32_t count; /* candidates, >= 1 */
    uint16_t first; /* the places of the first and the last one */
    uint16_t last;
    uint8_t is_bitmap;
    uint8_t references; /* lists that hold it: 1, or 2 during a rescan */
    size_t values_at;   /* where in data the values begin */
    uint8_t data[1];    /* places: bits, or uint16_t; then values */
} candidate_block;

typedef struct {
    candidate_block **blocks; /* by address */
    size_t count;
    size_t room;
    uint64_t candidates;
    uint64_t bytes;
} candidate_list;

/* What the type says about each value; the same for all candidates. */
typedef struct {
    scan_type type;
    size_t width;
    size_t step;  /* addresses are multiples of this */
    size_t slots; /* places in a window */
} candidate_kind;

/* Puts candidates, in order of addresses, into blocks. */
typedef struct {
    const candidate_kind *kind;
    candidate_list *list;
    uintptr_t base;
    uint32_t count;
    uint16_t first;
    uint16_t last;
    int failed; /* no memory */
    uint64_t bits[WINDOW / 64];
    uint8_t values[(size_t)WINDOW * WIDEST];
} candidate_builder;

/* ------------------------------------------------------------------ blocks */

static size_t
block_size(const candidate_block *block, const candidate_kind *kind)
{
    return offsetof(candidate_block, data) + block->values_at +
           block->count * kind->width;
}

static uintptr_t
block_address(const candidate_block *block, const candidate_kind *kind,
              size_t place)
{
    return block->base + place * kind->step;
}

/* Whether its values lie in memory as they do here, side by side: the usual
 * state after a first scan for anything. */
static int
block_is_solid(const candidate_block *block, const candidate_kind *kind)
{
    return kind->width == kind->step &&
           block->count == (uint32_t)block->last - block->first + 1;
}

/* The numbers of the bits that are set, ascending. Neither is aligned. */
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

/* The places of all its candidates, ascending. */
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
    memset(list, 0, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        if (--blocks[i]->references == 0) {
            free(blocks[i]);
        }
    }
    free(blocks);
}

/* Make room for so many blocks more. */
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

/* Append all of another list, which is empty then. */
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
list_append(candidate_list *list, candidate_block *block,
            const candidate_kind *kind)
{
    if (list_grow(list, 1) < 0) {
        return -1;
    }
    list->blocks[list->count++] = block;
    list->candidates += block->count;
    list->bytes += block_size(block, kind) + sizeof(*list->blocks);
    return 0;
}

/* Make a block of what was collected, and be empty. */
static void
builder_flush(candidate_builder *builder)
{
    const candidate_kind *kind = builder->kind;
    if (builder->count == 0) {
        return;
    }
    const size_t words = (kind->slots + 63) / 64;
    const size_t bitmap = words * sizeof(uint64_t);
    const size_t places = builder->count * sizeof(uint16_t);
    candidate_block header;
    memset(&header, 0, sizeof(header));
    header.base = builder->base;
    header.count = builder->count;
    header.first = builder->first;
    header.last = builder->last;
    header.is_bitmap = bitmap <= places;
    header.references = 1;
    header.values_at = ((header.is_bitmap ? bitmap : places) + 7) & ~(size_t)7;
    candidate_block *block = malloc(block_size(&header, kind));
    if (block == NULL) {
        builder->failed = 1;
    }
    else {
        memcpy(block, &header, offsetof(candidate_block, data));
        if (header.is_bitmap) {
            memcpy(block->data, builder->bits, bitmap);
        }
        else {
            list_bits(builder->bits, words, block->data);
        }
        memcpy(block->data + header.values_at, builder->values,
               builder->count * kind->width);
        if (list_append(builder->list, block, kind) < 0) {
            free(block);
            builder->failed = 1;
        }
    }
    memset(builder->bits, 0, bitmap);
    builder->count = 0;
}

/* Begin a new block unless the address belongs to the one at hand. */
static void
builder_turn_to(candidate_builder *builder, uintptr_t address)
{
    uintptr_t base = address & ~(uintptr_t)(WINDOW - 1);
    if (builder->count == 0 || base != builder->base) {
        builder_flush(builder);
        builder->base = base;
        builder->first = (uint16_t)((address - base) / builder->kind->step);
    }
}

static void
builder_add(candidate_builder *builder, uintptr_t address,
            const uint8_t *value)
{
    const candidate_kind *kind = builder->kind;
    builder_turn_to(builder, address);
    size_t place = (size_t)(address - builder->base) / kind->step;
    builder->bits[place / 64] |= (uint64_t)1 << (place % 64);
    memcpy(builder->values + builder->count * kind->width, value, kind->width);
    builder->last = (uint16_t)place;
    builder->count++;
}

/* n <= 64 candidates side by side, in one window; width and step are equal. */
static void
builder_add_run(candidate_builder *builder, uintptr_t address,
                const uint8_t *values, size_t n)
{
    const candidate_kind *kind = builder->kind;
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
    candidate_kind kind;
    candidate_list list;
    uint64_t scanned; /* bytes of the first scan */
    uint64_t skipped;
    uint64_t lost;    /* candidates whose memory was gone at a rescan */
    uint64_t version; /* goes up with each rescan */
    int busy;         /* a rescan is under way */
} CandidatesObject;

static void
candidates_release(CandidatesObject *self)
{
    PyObject *process = self->process;
    self->process = NULL;
    self->version++;
    list_clear(&self->list);
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
    if (((CandidatesObject *)op)->busy) { /* __del__() by hand */
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

/* The matches of a block become candidates. */
static void
builder_look(candidate_builder *builder, wi_scan_task *task)
{
    const candidate_kind *kind = builder->kind;
    /* All aligned places of 64 addresses, the first at bit 0. */
    uint64_t every = 0;
    if (kind->width == kind->step) {
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
            builder_add(builder, address + bit, data + bit);
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
    part->builder.kind = &((CandidatesObject *)scan->context)->kind;
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

static PyObject *
candidates_create(PyObject *cls, PyObject *args)
{
    PyObject *process, *specs, *progress;
    const char *ranges;
    Py_ssize_t size;
    DWORD protections;
    uint32_t step;
    int type, result = -1;
    unsigned threads;
    CandidatesObject *self = NULL;
    wi_scan scan;
    wi_state *state = wi_state_of((PyTypeObject *)cls);
    memset(&scan, 0, sizeof(scan));
    if (state == NULL ||
        !PyArg_ParseTuple(args, "Oy#O&OiOO&:_create", &process, &ranges, &size,
                          wi_u32_converter, &protections, &specs, &type,
                          &progress, wi_threads_converter, &threads)) {
        return NULL;
    }
    if (type < 0 || type >= SCAN_TYPES) {
        PyErr_SetString(PyExc_ValueError, "no such type");
        return NULL;
    }
    self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    self->kind.type = (scan_type)type;
    self->kind.width = scan_type_size(self->kind.type);
    scan.user = &candidates_user;
    scan.context = self;
    scan.progress = progress;
    if (wi_scan_compile(&scan, specs) < 0) {
        goto done;
    }
    if (scan_set_longest(scan.set) != self->kind.width) {
        PyErr_SetString(PyExc_ValueError, "the pattern is of another type");
        goto done;
    }
    /* Places between two steps could not be named. */
    step = scan_set_alignment(scan.set);
    if (step > 64) {
        PyErr_SetString(PyExc_ValueError, "the alignment is above 64");
        goto done;
    }
    self->kind.step = step;
    self->kind.slots = WINDOW / step;
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

/* The same for all threads. */
typedef struct {
    const candidate_kind *kind;
    const candidate_list *from;
    candidate_list to;
    HANDLE target;
    scan_level level;
    scan_change change;
    scan_number low;
    scan_number high;
    size_t next;   /* the block that is claimed next */
    uint64_t seen; /* candidates */
    uint64_t lost;
    DWORD err; /* the target is gone, or may not be read; or no memory */
    volatile LONG some;
} candidate_rescan;

/* One thread's: blocks that lie near to each other. */
typedef struct {
    size_t first;
    size_t count;
    uintptr_t start; /* of the first candidate */
    uintptr_t end;
    candidate_list to;
    uint64_t seen;
    uint64_t lost;
    DWORD err;
    candidate_builder builder;
    uint8_t read[WI_READ_CHUNK + WINDOW + WIDEST]; /* a value over its end */
    uint8_t now[(size_t)WINDOW * WIDEST]; /* of one block, side by side */
    uint16_t places[WINDOW];
    uint64_t keep[WINDOW / 64];
    uint8_t pages[(WI_READ_CHUNK + WINDOW) / WI_PAGE + 2];
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

/* Compare one block with `data`, the memory from its first candidate on. The
 * mask has a byte for each page that was read, or is NULL for all of them. */
static void
rescan_block(const candidate_rescan *rescan, candidate_group *group,
             candidate_block *block, const uint8_t *data, const uint8_t *mask)
{
    const candidate_kind *kind = rescan->kind;
    const size_t n = block->count;
    const uint8_t *then = block->data + block->values_at;
    const uint8_t *now = group->now;
    const int solid = block_is_solid(block, kind);
    int have_places = 0;
    group->seen += n;
    if (solid) {
        now = data;
    }
    else {
        block_places(block, kind, group->places);
        have_places = 1;
        gather(group->now, data, group->places, block->first, n, kind->width,
               kind->step);
    }
    scan_compare(rescan->level, kind->type, rescan->change, now, then, n,
                 rescan->low, rescan->high, group->keep);
    if (mask != NULL) {
        const uintptr_t from = block_address(block, kind, block->first);
        for (size_t i = 0; i < n; i++) {
            size_t place = solid ? block->first + i : group->places[i];
            uintptr_t at = block_address(block, kind, place);
            uintptr_t page = from / WI_PAGE;
            if (!mask[at / WI_PAGE - page] ||
                !mask[(at + kind->width - 1) / WI_PAGE - page]) {
                group->keep[i / 64] &= ~((uint64_t)1 << (i % 64));
                group->lost++;
            }
        }
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
    if (all) {
        candidate_block *copy = block;
        if (rescan->change == SCAN_UNCHANGED ||
            memcmp(now, then, n * kind->width) == 0) {
            block->references++; /* just as it was: both lists hold it */
        }
        else {
            const size_t size = block_size(block, kind);
            copy = malloc(size);
            if (copy != NULL) {
                memcpy(copy, block,
                       offsetof(candidate_block, data) + block->values_at);
                memcpy(copy->data + block->values_at, now, n * kind->width);
                copy->references = 1;
            }
        }
        if (copy == NULL || list_append(&group->to, copy, kind) < 0) {
            group->err = ERROR_NOT_ENOUGH_MEMORY;
            if (copy != NULL && --copy->references == 0) {
                free(copy);
            }
        }
        return;
    }
    if (!have_places) {
        block_places(block, kind, group->places);
    }
    for (size_t w = 0; w < (n + 63) / 64; w++) {
        for (uint64_t word = group->keep[w]; word != 0; word &= word - 1) {
            size_t i = w * 64 + scan_lowest_bit(word);
            builder_add(&group->builder,
                        block_address(block, kind, group->places[i]),
                        now + i * kind->width);
        }
    }
    builder_flush(&group->builder);
    if (group->builder.failed) {
        group->err = ERROR_NOT_ENOUGH_MEMORY;
    }
}

/* Mark the pages that a block has values in. */
static void
rescan_touch(candidate_group *group, const candidate_kind *kind,
             const candidate_block *block)
{
    const uintptr_t page = group->start / WI_PAGE;
    if (block_is_solid(block, kind)) {
        uintptr_t from = block_address(block, kind, block->first);
        uintptr_t last =
            block_address(block, kind, block->last) + kind->width - 1;
        memset(group->pages + (from / WI_PAGE - page), 1,
               last / WI_PAGE - from / WI_PAGE + 1);
        return;
    }
    block_places(block, kind, group->places);
    for (size_t i = 0; i < block->count; i++) {
        uintptr_t at = block_address(block, kind, group->places[i]);
        group->pages[at / WI_PAGE - page] = 1;
        group->pages[(at + kind->width - 1) / WI_PAGE - page] = 1;
    }
}

/* wi_crew_duty: the next blocks that lie near to each other. */
static int
rescan_claim(void *context, void *task)
{
    candidate_rescan *rescan = context;
    candidate_group *group = task;
    const candidate_kind *kind = rescan->kind;
    candidate_block **blocks = rescan->from->blocks;
    size_t i = rescan->next;
    if (i == rescan->from->count) {
        return 0;
    }
    group->first = i;
    group->start = block_address(blocks[i], kind, blocks[i]->first);
    for (; i < rescan->from->count; i++) {
        uintptr_t to =
            block_address(blocks[i], kind, blocks[i]->last) + kind->width;
        if (i > group->first && to - group->start > WI_READ_CHUNK) {
            break;
        }
        group->end = to;
    }
    group->count = i - group->first;
    rescan->next = i;
    return 1;
}

/* wi_crew_duty: read them, and keep what has changed as asked. */
static void
rescan_work(void *context, void *task, unsigned Py_UNUSED(thread))
{
    candidate_rescan *rescan = context;
    candidate_group *group = task;
    const candidate_kind *kind = rescan->kind;
    candidate_block **blocks = rescan->from->blocks + group->first;
    BOOL whole;
    group->builder.kind = kind;
    group->builder.list = &group->to;
    group->seen = 0;
    group->lost = 0;
    memset(group->pages, 0, sizeof(group->pages));
    for (size_t i = 0; i < group->count; i++) {
        rescan_touch(group, kind, blocks[i]);
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

/* wi_crew_duty: on the thread of the caller, in order. */
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
    list_clear(&((candidate_group *)task)->to);
}

static const wi_crew_duty rescan_duty = {
    .claim = rescan_claim,
    .work = rescan_work,
    .take = rescan_take,
    .clear = rescan_clear,
};

static PyObject *
candidates_rescan(PyObject *op, PyObject *args)
{
    CandidatesObject *self = (CandidatesObject *)op;
    int change;
    const char *low, *high;
    Py_ssize_t low_size, high_size;
    unsigned threads;
    PyObject *progress, *result = NULL;
    if (!PyArg_ParseTuple(args, "iy#y#OO&:_rescan", &change, &low, &low_size,
                          &high, &high_size, &progress, wi_threads_converter,
                          &threads)) {
        return NULL;
    }
    if (change < 0 || change >= SCAN_CHANGES ||
        low_size != sizeof(scan_number) || high_size != sizeof(scan_number)) {
        PyErr_SetString(PyExc_ValueError, "no such change or limits");
        return NULL;
    }
    if (candidates_check_open(self) < 0) {
        return NULL;
    }
    if (self->busy) {
        PyErr_SetString(PyExc_ValueError,
                        "a rescan is running in another thread");
        return NULL;
    }
    candidate_rescan rescan = {
        .kind = &self->kind,
        .from = &self->list,
        .level = scan_best_level(),
        .change = (scan_change)change,
        .some = 1, /* the first scan has */
    };
    memcpy(&rescan.low, low, sizeof(rescan.low));
    memcpy(&rescan.high, high, sizeof(rescan.high));
    wi_crew *crew =
        wi_crew_new(&rescan_duty, &rescan, wi_thread_count(threads),
                    sizeof(candidate_group));
    if (crew == NULL) {
        return PyErr_NoMemory();
    }
    self->busy = 1;
    wi_process *owner = (wi_process *)self->process;
    for (wi_crew_result how = WI_CREW_MORE; how != WI_CREW_END;) {
        if (wi_check_open(owner, owner->handle) < 0) {
            goto done;
        }
        rescan.target = wi_process_pin(owner);
        Py_BEGIN_ALLOW_THREADS
        how = wi_crew_run(crew, WI_SLICE_MS);
        Py_END_ALLOW_THREADS
        wi_process_unpin(owner);
        if (rescan.err != 0) {
            wi_scan_raise(self->process, rescan.err, "ReadProcessMemory");
            goto done;
        }
        wi_progress_result go_on =
            wi_scan_progress(progress, rescan.seen, self->list.candidates);
        if (go_on != WI_PROGRESS_GO_ON) {
            result = go_on == WI_PROGRESS_STOP ? Py_NewRef(Py_False) : NULL;
            goto done;
        }
    }
    candidate_list old = self->list;
    self->list = rescan.to;
    memset(&rescan.to, 0, sizeof(rescan.to));
    self->lost += rescan.lost;
    self->version++;
    list_clear(&old);
    result = Py_NewRef(Py_None);
done:
    wi_crew_free(crew);
    list_clear(&rescan.to);
    self->busy = 0;
    return result;
}

/* ----------------------------------------------------------------- access */

static PyObject *
candidates_take(PyObject *op, PyObject *args)
{
    CandidatesObject *self = (CandidatesObject *)op;
    const candidate_kind *kind = &self->kind;
    Py_ssize_t number;
    unsigned long long version;
    if (!PyArg_ParseTuple(args, "nK:_take", &number, &version)) {
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
    /* Making bytes runs no Python; making the tuple may, which may rescan. */
    PyObject *places =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(n * sizeof(uint16_t)));
    PyObject *values =
        PyBytes_FromStringAndSize((const char *)block->data + block->values_at,
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
             "Forget the candidates and let go of the process; more calls do\n"
             "nothing.\n\n"
             "Raises BufferError while another thread rescans.");

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
               "        progress, threads, /)\n--\n\n"
               "What a scan for one pattern finds.")},
    {"_rescan", candidates_rescan, METH_VARARGS,
     PyDoc_STR(
         "_rescan($self, change, low, high, progress, threads, /)\n--\n\n"
         "None, or False when progress ended it.")},
    {"_take", candidates_take, METH_VARARGS,
     PyDoc_STR("_take($self, block, version, /)\n--\n\n"
               "(base, step, places, values), or None after the last block.")},
    {"close", candidates_close, METH_NOARGS, candidates_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef candidates_getset[] = {
    {"closed", wi_get_closed, NULL, "Whether it has been closed.",
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
    CANDIDATES_COUNT("lost", lost,
                     "Candidates dropped because their memory could not be "
                     "read any more."),
    CANDIDATES_COUNT("nbytes", list.bytes, "Bytes of memory that it takes."),
    CANDIDATES_COUNT("_version", version, NULL),
    {"_type", T_UINT, offsetof(CandidatesObject, kind.type), Py_READONLY,
     NULL},
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
wi_candidates_init(PyObject *module, wi_state *state)
{
    return wi_add_type(module, &candidates_spec, &state->candidates_type);
}
