from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory


cdef enum:
    CODE_MAX = 320      # bytes of a code object that are read; `code_size` of every known version is below
    NAMES = 3           # name, qualname, filename
    NO_CODE = 0xFFFFFFFF
    CODE_GC = 0         # ids of what stands for no code object
    CODE_NATIVE = 1
    CODE_FIRST = 2
    NATIVE_ADDRESS = 1  # no object can be there: in place of a code object, for C code between two frames

cdef enum:
    FOUND = 16

cdef enum:
    COPIED = 0          # copied, or found unchanged
    CHANGED = 1         # the address holds another code object now, or something that is none
    UNREADABLE = 2      # the memory could not be read


cdef struct Text:
    char *data          # characters as the target has them: `kind` bytes each, native byte order
    uint32_t size       # bytes
    uint8_t kind        # 1, 2 or 4


cdef struct Code:
    uintptr_t address
    uint64_t first_ns       # when it was first seen
    uint64_t calls          # how often it was seen to be called
    uint32_t last_parent    # node of its caller when it was innermost the last time, 0: never
    uint32_t parent         # node of its caller when it was one of the innermost frames the last time
    uint32_t parent_times   # in a row
    uintptr_t thread        # that was the last one in which this was seen: both are of that one only
    uint8_t recursive       # it was seen below itself
    uint64_t stack          # in which stack it was seen last, see `recursion_find`
    uint64_t validated_ns   # when it was last known to be the object at `address`
    uint64_t asked_ns       # of which read it was asked last whether it still is
    uint64_t name_hash
    int64_t length          # bytes of bytecode
    uintptr_t bytecode      # where that is
    uint8_t *back           # for each of its 2-byte units: how many units before it its instruction begins; or NULL
    int32_t first_line
    uint8_t hidden          # an interpreter-internal shim, not a function of the program
    uint8_t alive           # still what `address` maps to
    Text texts[NAMES]
    Text lines              # the location table
    char identity[CODE_MAX]


# All code objects seen, by id; a second object at a reused address gets an id of its own.
cdef struct CodeTable:
    Code *codes
    uint32_t count, capacity
    uint32_t *slots         # open addressing: address -> id of the living one
    uint32_t slot_count
    uintptr_t code_type     # address of PyCode_Type, learned from the first code object
    int32_t identity_start, identity_end
    uint64_t reused_ns      # when an address was last found to hold another object, 0 = never
    uint8_t caches[256]     # how many units of inline cache follow each instruction
    bint with_caches        # whether that is known, and instructions are wanted
    uint8_t calls[256]      # 1: the version of the function that it calls is in this instruction's cache
    uint8_t native[256]     # 1: a frame that is innermost and at this instruction runs C code
    int32_t call_back       # bytes from the instruction of a call to where a frame in it says to be
    uint32_t found[FOUND]   # ids that were found by an instruction, the last one first


cdef int codes_init(CodeTable *table, Layout *layout) noexcept nogil
cdef void codes_clear(CodeTable *table) noexcept nogil
cdef uint32_t codes_find(CodeTable *table, uintptr_t address) noexcept nogil
cdef uint32_t codes_find_by_instr(CodeTable *table, uintptr_t instr) noexcept nogil
cdef uint32_t codes_add(CodeTable *table, Memory *memory, Layout *layout, uintptr_t address) noexcept nogil
cdef int codes_validate(CodeTable *table, Memory *memory, Layout *layout,
                        uint32_t *ids, size_t count) noexcept nogil
cdef object codes_export(CodeTable *table, uint32_t start)
