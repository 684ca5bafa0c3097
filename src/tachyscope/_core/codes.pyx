# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Code objects of the target: copied when first seen, as they may be gone later, and validated afterwards.

Addresses are reused: a program that creates and drops functions puts the next code object where the last one was. An
object counts as the same while the words that identify it are the same: the pointers to its names and tables, its
first line, from 3.12 on its unique version, and the hash of its name (names are interned, so the hash is there).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strlen

from tachyscope._core.frames cimport int32_at, word_at
from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory, iovec, memory_read, memory_readv, now_ns

from cpython.bytes cimport PyBytes_FromStringAndSize


cdef enum:
    TEXT_MAX = 1 << 14        # bytes of a name that are kept
    LINES_MAX = 1 << 24       # bytes of a location table; a longer one is not read
    BYTECODE_MAX = 1 << 30    # bytes of bytecode; more is taken for garbage
    CACHES_UNKNOWN = 255      # of an instruction that stands in for another one
    UNITS_MAX = 1 << 20       # 2-byte units of bytecode that are looked at for instructions
    HEADER_MAX = 128
    VALIDATE_MAX = 256        # code objects validated in one call
    FRAME_WORDS_MAX = 1 << 20 # of a frame; more is taken for garbage


cdef inline uint32_t _slot(CodeTable *table, uintptr_t address) noexcept nogil:
    return <uint32_t>(((address >> 4) * <uint64_t>0x9E3779B97F4A7C15) >> 32) & (table.slot_count - 1)


cdef int codes_init(CodeTable *table, Layout *layout) noexcept nogil:
    memset(table, 0, sizeof(CodeTable))
    cdef int32_t first = layout.code_firstlineno, last = layout.code_linetable
    cdef int32_t fields[5]
    cdef int i
    fields[0] = layout.code_name
    fields[1] = layout.code_qualname
    fields[2] = layout.code_filename
    fields[3] = layout.code_linetable
    fields[4] = layout.code_version
    for i in range(5):
        if fields[i] >= 0 and fields[i] < first:
            first = fields[i]
        if fields[i] > last:
            last = fields[i]
    table.identity_start, table.identity_end = first, last + 8
    table.slot_count = 1024
    table.slots = <uint32_t *>malloc(table.slot_count * sizeof(uint32_t))
    table.capacity = 256
    table.codes = <Code *>malloc(table.capacity * sizeof(Code))
    if table.slots == NULL or table.codes == NULL or table.identity_end > CODE_MAX or layout.code_size > CODE_MAX:
        return -1
    memset(table.slots, 0xFF, table.slot_count * sizeof(uint32_t))
    return (_add_special(table, b"<GC>") or _add_special(table, b"<native>") or _add_special(table, b"<uncertain>"))


cdef int _add_special(CodeTable *table, const char *name) noexcept nogil:
    """Something that is shown like a function but is none: in the file "~", as the pstats module has it."""
    cdef Code *code = &table.codes[table.count]
    cdef Text *code_text
    cdef const char *text
    cdef size_t size
    cdef int i
    memset(code, 0, sizeof(Code))
    for i in range(NAMES + 1):
        text = name
        if i >= 2:
            text = b"~"
        size = strlen(text) if i < NAMES else 0
        code_text = &code.texts[i] if i < NAMES else &code.lines
        code_text.data = <char *>calloc(1, size + 1)
        if code_text.data == NULL:
            return -1
        memcpy(code_text.data, text, size)
        code_text.size, code_text.kind = <uint32_t>size, 1
    code.length = 1
    table.count += 1
    return 0


cdef void _free_texts(Code *code) noexcept nogil:
    cdef int i
    for i in range(NAMES):
        free(code.texts[i].data)
    free(code.lines.data)
    free(code.back)
    free(code.roles)


cdef void codes_clear(CodeTable *table) noexcept nogil:
    cdef uint32_t i
    for i in range(table.count):
        _free_texts(&table.codes[i])
    free(table.codes)
    free(table.slots)
    memset(table, 0, sizeof(CodeTable))


cdef uint32_t codes_find(CodeTable *table, uintptr_t address) noexcept nogil:
    cdef uint32_t slot = _slot(table, address), code_id
    while True:
        code_id = table.slots[slot]
        if code_id == NO_CODE:
            return NO_CODE
        if table.codes[code_id].address == address:
            return code_id if table.codes[code_id].alive else <uint32_t>NO_CODE
        slot = (slot + 1) & (table.slot_count - 1)


cdef void _put(CodeTable *table, uint32_t code_id) noexcept nogil:
    cdef uintptr_t address = table.codes[code_id].address
    cdef uint32_t slot = _slot(table, address)
    while table.slots[slot] != NO_CODE and table.codes[table.slots[slot]].address != address:
        slot = (slot + 1) & (table.slot_count - 1)
    table.slots[slot] = code_id


cdef int _grow(CodeTable *table) noexcept nogil:
    """Make room for one more code object; -1 when there is no memory."""
    cdef Code *codes
    cdef uint32_t *slots
    cdef uint32_t i
    if table.count == table.capacity:
        codes = <Code *>realloc(table.codes, 2 * table.capacity * sizeof(Code))
        if codes == NULL:
            return -1
        table.codes, table.capacity = codes, 2 * table.capacity
    if 2 * table.count >= table.slot_count:
        slots = <uint32_t *>malloc(2 * table.slot_count * sizeof(uint32_t))
        if slots == NULL:
            return -1
        free(table.slots)
        table.slots, table.slot_count = slots, 2 * table.slot_count
        memset(slots, 0xFF, table.slot_count * sizeof(uint32_t))
        for i in range(table.count):
            if table.codes[i].alive:
                _put(table, i)
    return 0


cdef bint _is_code(CodeTable *table, Memory *memory, Layout *layout, uintptr_t type_address) noexcept nogil:
    """Tell whether the type at `type_address` is the one named "code"."""
    cdef uintptr_t name_address = 0
    cdef char name[8]
    if type_address == table.code_type:
        return type_address != 0
    if memory_read(memory, type_address + layout.type_name, &name_address, 8) != 8:
        return False
    if memory_read(memory, name_address, name, 5) != 5 or memcmp(name, b"code\0", 5) != 0:
        return False
    table.code_type = type_address
    return True


cdef int _locate_text(Layout *layout, char *header, uintptr_t address, Text *text, iovec *data) noexcept nogil:
    """From a string's header: kind, size and place of its characters."""
    cdef uint32_t state = <uint32_t>int32_at(header + layout.unicode_state)
    cdef uint64_t length = word_at(header + layout.unicode_length)
    cdef uint8_t kind = (state >> layout.unicode_kind_shift) & 7
    if kind not in (1, 2, 4) or not (state >> layout.unicode_compact_shift) & 1 or length > (<uint64_t>1 << 40):
        return -1
    text.kind = kind
    text.size = <uint32_t>(length * kind if length * kind < TEXT_MAX else TEXT_MAX)
    data.iov_len = text.size
    data.iov_base = <void *>(address + (layout.unicode_ascii_data if (state >> layout.unicode_ascii_shift) & 1
                                        else layout.unicode_compact_data))
    return 0


cdef int _copy_texts(Code *code, char *buffer) noexcept nogil:
    """Take the characters of all names and the location table out of one packed buffer."""
    cdef Text *text
    cdef int i
    for i in range(NAMES + 1):
        text = &code.texts[i] if i < NAMES else &code.lines
        text.data = <char *>malloc(text.size + 1)
        if text.data == NULL:
            return -1
        memcpy(text.data, buffer, text.size)
        buffer += text.size
    return 0


cdef bint _is_shim(Code *code) noexcept nogil:
    """3.12+ puts a frame without a file, function "__init__" in file "__init__", below the `__init__` it calls."""
    cdef Text *name = &code.texts[0]
    cdef Text *filename = &code.texts[2]
    return (filename.size == 8 and filename.kind == 1 and memcmp(filename.data, b"__init__", 8) == 0
            and name.size == 8 and memcmp(name.data, b"__init__", 8) == 0)


cdef int _read_headers(Memory *memory, Layout *layout, char *body, char *headers, uintptr_t *parts) noexcept nogil:
    """Read the headers of the three names, the location table and, to 3.10, of `co_code`, HEADER_MAX bytes apart."""
    cdef iovec remote[5]
    cdef char packed[5 * HEADER_MAX]
    cdef int32_t fields[5]
    cdef size_t count = 5 if layout.code_bytecode >= 0 else 4, total = 0, i
    fields[0] = layout.code_name
    fields[1] = layout.code_qualname if layout.code_qualname >= 0 else layout.code_name
    fields[2] = layout.code_filename
    fields[3] = layout.code_linetable
    fields[4] = layout.code_bytecode
    for i in range(count):
        parts[i] = word_at(body + fields[i])
        remote[i].iov_base = <void *>parts[i]
        remote[i].iov_len = layout.unicode_ascii_data if i < NAMES else layout.bytes_data
        total += remote[i].iov_len
    if memory_readv(memory, packed, remote, count) != <ssize_t>total:
        return -1
    total = 0
    for i in range(count):
        memcpy(headers + i * HEADER_MAX, packed + total, remote[i].iov_len)
        total += remote[i].iov_len
    return 0


cdef int _measure(Layout *layout, Code *code, char *body, char *headers, uintptr_t *parts,
                  iovec *data) noexcept nogil:
    """Fill in sizes and where the characters are; -1 if any of it makes no sense."""
    cdef int i
    cdef uint64_t size
    for i in range(NAMES):
        if _locate_text(layout, headers + i * HEADER_MAX, parts[i], &code.texts[i], &data[i]) < 0:
            return -1
    size = word_at(headers + 3 * HEADER_MAX + layout.var_size)
    code.lines.size = <uint32_t>size if size <= LINES_MAX else 0
    data[3].iov_base = <void *>(parts[3] + layout.bytes_data)
    data[3].iov_len = code.lines.size
    if layout.code_bytecode >= 0:
        code.length = <int64_t>word_at(headers + 4 * HEADER_MAX + layout.var_size)
        code.bytecode = parts[4] + layout.bytes_data
    else:
        code.length = 2 * <int64_t>word_at(body + layout.var_size)
        code.bytecode = code.address + layout.code_instructions
    if layout.frame_owner >= 0:
        code.locals = int32_at(body + layout.code_locals)
        size = <uint64_t>code.locals + <uint32_t>int32_at(body + layout.code_stack_size)
        if code.locals < 0 or size > FRAME_WORDS_MAX:
            return -1
        code.frame_bytes = layout.frame_locals + 8 * <int32_t>size
    code.name_hash = word_at(headers + layout.unicode_hash)
    code.first_line = int32_at(body + layout.code_firstlineno)
    return 0 if 0 < code.length <= BYTECODE_MAX else -1


cdef int _copy(CodeTable *table, Memory *memory, Layout *layout, Code *code) noexcept nogil:
    """Copy the code object at `code.address`, three calls, and see that it did not change meanwhile."""
    cdef char body[CODE_MAX]
    cdef char headers[5 * HEADER_MAX]
    cdef uintptr_t parts[5]
    cdef iovec data[6]
    cdef size_t total = 0, i, size = layout.code_size
    cdef char *buffer
    cdef int result
    if memory_read(memory, code.address, body, size) != <ssize_t>size:
        return UNREADABLE
    if not _is_code(table, memory, layout, word_at(body + layout.object_type)):
        return CHANGED
    if _read_headers(memory, layout, body, headers, parts) < 0:
        return UNREADABLE
    if _measure(layout, code, body, headers, parts, data) < 0:
        return CHANGED
    data[4].iov_base = <void *>code.bytecode
    data[4].iov_len = code.length if code.length <= 2 * UNITS_MAX else 0
    data[5].iov_base = <void *>code.address
    data[5].iov_len = size
    for i in range(6):
        total += data[i].iov_len
    buffer = <char *>malloc(total)
    if buffer == NULL:
        return UNREADABLE
    result = UNREADABLE
    if memory_readv(memory, buffer, data, 6) == <ssize_t>total:
        memcpy(code.identity, body + table.identity_start, table.identity_end - table.identity_start)
        result = CHANGED
        if memcmp(buffer + total - size + table.identity_start, code.identity,
                  table.identity_end - table.identity_start) == 0:
            result = COPIED if _copy_texts(code, buffer) == 0 else UNREADABLE
            _map_instructions(table, code, <uint8_t *>buffer + total - size - data[4].iov_len, data[4].iov_len / 2)
    free(buffer)
    return result


cdef void _map_instructions(CodeTable *table, Code *code, uint8_t *bytecode, int64_t units) noexcept nogil:
    """Find out where instructions begin, and what they mean for a frame that is at them. That stays so: specialised
    forms have the role and the caches of their base form. What stands in for another one (`sys.monitoring`) hides that."""
    cdef int64_t unit, cached = 0, since = 0
    cdef uint8_t role = 0
    cdef bint known = True
    code.back, code.roles = <uint8_t *>malloc(units + 1), <uint8_t *>malloc(units + 1)
    if code.roles == NULL or code.back == NULL:
        units = 0
    for unit in range(units):
        if cached == 0:
            cached, since, role = table.caches[bytecode[2 * unit]], 0, table.roles[bytecode[2 * unit]]
            if cached == CACHES_UNKNOWN:
                known, cached = False, 0
        else:
            cached, since = cached - 1, since + 1
        code.back[unit], code.roles[unit] = <uint8_t>since, role
    if units == 0 or not known:
        free(code.back)
        code.back = NULL
    if units == 0:
        free(code.roles)
        code.roles = NULL


cdef uint8_t code_role(Code *code, int64_t offset) noexcept nogil:
    """The role of the instruction at a byte offset, 0 if that is not in the code."""
    if code.roles == NULL or offset < 0 or offset >= code.length:
        return 0
    return code.roles[offset / 2]


cdef inline bint _holds(CodeTable *table, uint32_t code_id, int64_t instr) noexcept nogil:
    cdef Code *code = &table.codes[code_id]
    return code.alive and code.length > instr - <int64_t>code.bytecode >= 0


cdef uint32_t codes_holding(CodeTable *table, int64_t instr) noexcept nogil:
    """The living code object whose bytecode an instruction is in; NO_CODE: none that is known."""
    cdef uint32_t *recent = &table.recent[(instr >> 1) % RECENT]
    cdef uint32_t code_id
    if recent[0] < table.count and _holds(table, recent[0], instr):
        return recent[0]
    for code_id in range(CODE_FIRST, table.count):
        if _holds(table, code_id, instr):
            recent[0] = code_id
            return code_id
    return NO_CODE


cdef uint32_t codes_add(CodeTable *table, Memory *memory, Layout *layout, uintptr_t address) noexcept nogil:
    """Copy the code object at `address` and return its id, or NO_CODE if no code object could be read there."""
    cdef Code code
    cdef uint32_t code_id = codes_find(table, address)
    memset(&code, 0, sizeof(code))
    code.address = address
    if _grow(table) < 0 or _copy(table, memory, layout, &code) != COPIED:
        _free_texts(&code)
        return NO_CODE
    code.first_ns = code.validated_ns = now_ns()
    code.hidden = _is_shim(&code)
    code.alive = True
    if code_id != NO_CODE:
        table.codes[code_id].alive = False
    code_id = table.count
    table.codes[code_id] = code
    table.count += 1
    _put(table, code_id)
    return code_id


cdef int codes_validate(CodeTable *table, Memory *memory, Layout *layout,
                        uint32_t *ids, size_t count) noexcept nogil:
    """Look at the first `count` (at most VALIDATE_MAX) of `ids` again: all unchanged, or the first CHANGED one is
    copied anew under another id. One call for all of them."""
    cdef iovec remote[2 * VALIDATE_MAX]
    cdef char buffer[VALIDATE_MAX * (CODE_MAX + 8)]
    cdef size_t i, ranges = 0, total = 0, span = table.identity_end - table.identity_start
    cdef bint by_hash = layout.code_version < 0
    cdef uint64_t now
    cdef Code *code
    cdef char *at = buffer
    cdef bint same
    cdef int result = COPIED
    if count > VALIDATE_MAX:
        count = VALIDATE_MAX
    for i in range(count):
        code = &table.codes[ids[i]]
        remote[ranges].iov_base = <void *>(code.address + table.identity_start)
        remote[ranges].iov_len = span
        ranges += 1
        total += span
        if by_hash:
            remote[ranges].iov_base = <void *>(word_at(code.identity + layout.code_name - table.identity_start)
                                               + layout.unicode_hash)
            remote[ranges].iov_len = 8
            ranges += 1
            total += 8
    if memory_readv(memory, buffer, remote, ranges) != <ssize_t>total:
        return UNREADABLE
    now = now_ns()
    for i in range(count):
        code = &table.codes[ids[i]]
        same = memcmp(at, code.identity, span) == 0
        at += span
        if by_hash:
            same = same and word_at(at) == code.name_hash
            at += 8
        if same:
            code.validated_ns = now
        else:
            table.reused_ns = now
            result = CHANGED
            if codes_add(table, memory, layout, code.address) == NO_CODE:
                return UNREADABLE
    return result


cdef object _text(Text *text):
    cdef bytes raw = PyBytes_FromStringAndSize(text.data, text.size)
    try:
        return raw.decode({1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[text.kind], "surrogatepass")
    except UnicodeDecodeError:  # torn, or cut at TEXT_MAX
        return raw.decode("latin-1")


cdef object codes_export(CodeTable *table, uint32_t start):
    """Return (name, qualname, filename, first line, location table) of the code objects with ids from `start` on."""
    cdef list result = []
    cdef uint32_t i
    cdef Code *code
    for i in range(start, table.count):
        code = &table.codes[i]
        result.append((_text(&code.texts[0]), _text(&code.texts[1]), _text(&code.texts[2]), code.first_line,
                       PyBytes_FromStringAndSize(code.lines.data, code.lines.size)))
    return result
