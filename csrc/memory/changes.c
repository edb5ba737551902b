/* changes.c: what differs between two copies of memory.
 *
 *     >>> _core._changes(b"one two", b"ONE twO", 0)
 *     [(0, b'ONE'), (6, b'O')]
 *
 * It compares whole pages first, as most of them are the same. Owner: both
 * copies are the caller's, and no other process writes them. Thread: any. GIL:
 * given up while it compares. */
#include "base/core.h"

#define CHANGES_PAGE 4096
#define CHANGES_WORD 8

/* How many ranges to find before taking the GIL back. */
#define CHANGES_ROOM 256

typedef struct {
    const unsigned char *old, *new;
    size_t size, at; /* all before `at` has been compared */
    size_t join;     /* a range may contain this many equal bytes in a row */
} changes_pair;

/* The first byte from `at` on that differs; `size` if none does. */
static size_t
changes_next(const changes_pair *pair, size_t at)
{
    while (at < pair->size) {
        size_t left = CHANGES_PAGE - at % CHANGES_PAGE;
        size_t end = at + (left < pair->size - at ? left : pair->size - at);
        if (left == CHANGES_PAGE &&
            memcmp(pair->old + at, pair->new + at, end - at) == 0) {
            at = end;
            continue;
        }
        /* Find the word that differs, and then the byte in it. */
        for (; end - at >= CHANGES_WORD; at += CHANGES_WORD) {
            uint64_t was, is;
            memcpy(&was, pair->old + at, sizeof(was));
            memcpy(&is, pair->new + at, sizeof(is));
            if (was != is) {
                break;
            }
        }
        while (at < end && pair->old[at] == pair->new[at]) {
            at++;
        }
        if (at < end) {
            return at;
        }
    }
    return pair->size;
}

/* The next range into range[0] and range[1]; FALSE when there is none. */
static BOOL
changes_range(changes_pair *pair, size_t *range)
{
    size_t at = changes_next(pair, pair->at);
    pair->at = pair->size;
    if (at == pair->size) {
        return FALSE;
    }
    range[0] = at;
    for (;;) {
        while (at < pair->size && pair->old[at] != pair->new[at]) {
            at++;
        }
        range[1] = at;
        at = changes_next(pair, at);
        if (at == pair->size || at - range[1] > pair->join) {
            pair->at = at;
            return TRUE;
        }
    }
}

static PyObject *
changes(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer old, new;
    Py_ssize_t join;
    if (!PyArg_ParseTuple(args, "y*y*n:_changes", &old, &new, &join)) {
        return NULL;
    }
    PyObject *list = NULL;
    if (old.len != new.len || join < 0) {
        PyErr_SetString(PyExc_ValueError,
                        "copies of one size, and no negative join");
        goto done;
    }
    changes_pair pair = {old.buf, new.buf, (size_t)new.len, 0, (size_t)join};
    list = PyList_New(0);
    size_t found = CHANGES_ROOM;
    while (list != NULL && found == CHANGES_ROOM) {
        size_t ranges[CHANGES_ROOM][2];
        Py_BEGIN_ALLOW_THREADS
        for (found = 0; found < CHANGES_ROOM; found++) {
            if (!changes_range(&pair, ranges[found])) {
                break;
            }
        }
        Py_END_ALLOW_THREADS
        for (size_t i = 0; i < found && list != NULL; i++) {
            size_t at = ranges[i][0];
            wi_append(&list,
                      Py_BuildValue("(ny#)", (Py_ssize_t)at, pair.new + at,
                                    (Py_ssize_t)(ranges[i][1] - at)));
        }
    }
done:
    PyBuffer_Release(&old);
    PyBuffer_Release(&new);
    return list;
}

static PyMethodDef changes_functions[] = {
    {"_changes", changes, METH_VARARGS,
     "_changes($module, old, new, join, /)\n--\n\n"
     "List (offset, bytes of new) of each range that differs; a range may\n"
     "contain up to join equal bytes in a row."},
    {NULL, NULL, 0, NULL},
};

int
wi_changes_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, changes_functions);
}
