/* module.c: the module winipc._core, its state, exceptions and types.
 *
 * Multi-phase initialisation and per-module state, so that sub-interpreters
 * and reloads work; importing it changes nothing process-wide. */
#include "core.h"

/* ------------------------------------------------- helpers for the types */

wi_state *
wi_state_of(PyTypeObject *type)
{
    /* A Python subclass has no module of its own: walk to the C type. */
    for (; type != NULL; type = PyType_GetSlot(type, Py_tp_base)) {
        if (!(PyType_GetFlags(type) & Py_TPFLAGS_HEAPTYPE)) {
            break;
        }
        wi_state *state = PyType_GetModuleState(type);
        if (state != NULL) {
            return state;
        }
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_TypeError, "not a type of winipc._core");
    return NULL;
}

int
wi_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot)
{
    return wi_add_subtype(module, spec, NULL, slot);
}

int
wi_add_subtype(PyObject *module, PyType_Spec *spec, PyTypeObject *base,
               PyTypeObject **slot)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    if (type == NULL) {
        return -1;
    }
    if (slot != NULL) {
        *slot = (PyTypeObject *)Py_NewRef(type);
    }
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type); /* the module has it */
    return failed;
}

void *
wi_alloc(PyTypeObject *type)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return alloc(type, 0);
}

void
wi_append(PyObject **list, PyObject *row)
{
    if (*list != NULL && (row == NULL || PyList_Append(*list, row) < 0)) {
        Py_CLEAR(*list);
    }
    Py_XDECREF(row);
}

/* Whether a type's attribute is a public class method; -1 with an exception. */
static int
is_class_method(PyTypeObject *type, PyObject *name)
{
    PyObject *owner = NULL;
    if (PyUnicode_ReadChar(name, 0) != '_') {
        PyObject *method = PyObject_GetAttr((PyObject *)type, name);
        owner =
            method == NULL ? NULL : PyObject_GetAttrString(method, "__self__");
        Py_XDECREF(method);
        if (owner == NULL && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
    }
    Py_XDECREF(owner);
    return owner == (PyObject *)type;
}

/* The names of a type's public class methods, "create, open", or "". */
static PyObject *
class_methods(PyTypeObject *type)
{
    PyObject *names = PyObject_Dir((PyObject *)type);
    Py_ssize_t left = names == NULL ? 0 : PyList_Size(names);
    while (names != NULL && left-- > 0) {
        int is = is_class_method(type, PyList_GetItem(names, left));
        if (is < 0 ||
            (!is && PyList_SetSlice(names, left, left + 1, NULL) < 0)) {
            Py_CLEAR(names);
        }
    }
    PyObject *comma = PyUnicode_FromString(", ");
    PyObject *text =
        names == NULL || comma == NULL ? NULL : PyUnicode_Join(comma, names);
    Py_XDECREF(comma);
    Py_XDECREF(names);
    return text;
}

PyObject *
wi_no_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
          PyObject *Py_UNUSED(kwargs))
{
    PyObject *methods = class_methods(type), *name = PyType_GetName(type);
    if (methods != NULL && name != NULL) {
        PyErr_Format(
            PyExc_TypeError, "%U has no plain constructor%s%U", name,
            PyUnicode_GetLength(methods) > 0 ? ": use its class methods " : "",
            methods);
    }
    Py_XDECREF(methods);
    Py_XDECREF(name);
    return NULL;
}

int
wi_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

PyObject *
wi_get_closed(PyObject *self, void *offset)
{
    return PyBool_FromLong(*(void **)((char *)self + (size_t)offset) == NULL);
}

PyObject *
wi_get_handle(PyObject *self, void *offset)
{
    void *handle = *(void **)((char *)self + (size_t)offset);
    return wi_check_open(self, handle) < 0 ? NULL : PyLong_FromVoidPtr(handle);
}

void
wi_warn_unclosed(PyObject *self)
{
    PyObject *shown = PyObject_Repr(self);
    if (shown == NULL) {
        PyErr_Clear(); /* Python ends, and what a repr needs is gone */
        shown = PyType_GetName(Py_TYPE(self));
    }
    if (shown == NULL ||
        PyErr_ResourceWarning(self, 1, "unclosed %U", shown) < 0) {
        /* Warnings are errors here, and a finaliser cannot raise. */
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(shown);
}

/* ------------------------------------------------------------- exceptions */

static int
module_add_exception(PyObject *module, PyObject **slot, const char *name,
                     const char *doc, PyObject *base)
{
    *slot = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    if (*slot == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, strrchr(name, '.') + 1, *slot);
}

static int
module_add_exceptions(PyObject *module, wi_state *state)
{
    if (module_add_exception(
            module, &state->AbandonedError, "winipc.AbandonedError",
            "The process or thread that held a lock ended without releasing\n"
            "it: what the lock protects may be half written. After acquire()\n"
            "or a wait the caller owns the lock; `with` and lock() have\n"
            "released it. The attribute `mutex` is the Mutex or SharedLock,\n"
            "the number of a handle, or None if it is not known.",
            PyExc_OSError) < 0 ||
        module_add_exception(
            module, &state->PartialReadError, "winipc.PartialReadError",
            "Only a part of the memory could be read. The attribute\n"
            "`partial` has that part.",
            PyExc_OSError) < 0 ||
        module_add_exception(
            module, &state->PartialWriteError, "winipc.PartialWriteError",
            "Only a part of the data could be written. The attribute\n"
            "`written` is the number of bytes.",
            PyExc_OSError) < 0) {
        return -1;
    }
    return 0;
}

/* ----------------------------------------------------------- module slots */

typedef int (*module_init_fn)(PyObject *module, wi_state *state);

/* One a line. */
/* clang-format off */
static const module_init_fn module_parts[] = {
    wi_number_init,
    wi_bytes_init,
    wi_region_init,
    wi_mapping_init,
    wi_snapshot_init,
    wi_atomic_init,
    wi_changes_init,
    wi_fields_init,
    wi_section_init,
    wi_waitable_init, /* before the three that derive from it */
    wi_mutex_init,
    wi_event_init,
    wi_semaphore_init,
    wi_waits_init,
    wi_message_init,
    wi_lookup_init,
    wi_send_init,
    wi_lane_init,
    wi_window_init,
    wi_memory_init,
    wi_process_init,
    wi_modules_init,
    wi_job_init,
    wi_scan_init,
    wi_candidates_init,
    wi_pointer_scan_init,
    wi_catalog_init,
    wi_channel_init,
    wi_system_init,
    wi_lock_word_init,
    wi_token_init,
    wi_loop_wait_init,
};
/* clang-format on */

static int
module_exec(PyObject *module)
{
    wi_state *state = PyModule_GetState(module);
    if (module_add_exceptions(module, state) < 0) {
        return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(module_parts); i++) {
        if (module_parts[i](module, state) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    wi_state *state = PyModule_GetState(module);
#define WI_VISIT(type, field) Py_VISIT(state->field);
    WI_STATE_OBJECTS(WI_VISIT)
#undef WI_VISIT
    return 0;
}

static int
module_clear(PyObject *module)
{
    wi_state *state = PyModule_GetState(module);
#define WI_CLEAR(type, field) Py_CLEAR(state->field);
    WI_STATE_OBJECTS(WI_CLEAR)
#undef WI_CLEAR
    return 0;
}

static void
module_free(void *module)
{
    module_clear(module);
}

/* The number that the headers of 3.11 lack, and Python 3.11 refuses. */
#ifndef Py_mod_multiple_interpreters
#define Py_mod_multiple_interpreters 3
#define Py_MOD_PER_INTERPRETER_GIL_SUPPORTED ((void *)2)
#endif

/* What interpreters share is guarded by Windows, not by the GIL, so each may
 * have a GIL of its own. Threads of one interpreter do rely on it: see
 * "Locks" in docs/architecture.md. */
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

PyDoc_STRVAR(module_doc,
             "Win32 inter-process communication: the C objects of winipc.\n\n"
             "Raw values only; the package winipc is the public interface.");

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,   .m_name = "winipc._core",
    .m_doc = module_doc,     .m_size = sizeof(wi_state),
    .m_slots = module_slots, .m_traverse = module_traverse,
    .m_clear = module_clear, .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
#ifdef Py_LIMITED_API
    if (Py_Version < 0x030C0000) {
        module_slots[1].slot = 0; /* there is one GIL, and we have it */
    }
#endif
    return PyModuleDef_Init(&module_def);
}
