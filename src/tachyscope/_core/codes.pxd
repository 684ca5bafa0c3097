from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

from tachyscope._core.layout cimport Layout
from tachyscope._core.memory cimport Memory


cdef enum:
    CODE_MAX = 320      # bytes of a code object that are read; `code_size` of every known version is below
    NAMES = 3           # name, qualname, filename
    NO_CODE = 0xFFFFFFFF
    CODE_GC = 0         # ids of what stands for no code object
    CODE_NATIVE = 1
    CODE_UNCERTAIN = 2
    CODE_FIRST = 3
    RECENT = 256

cdef enum Role:         # what the instruction that a frame is at tells of it
    LEAVES = 1          # it returns or raises: then the frame is over once it does not run any more
    CREATES = 2         # it makes a generator of the frame, and leaves
    ITERATES = 4        # it runs what is on top of the stack: FOR_ITER and SEND
    CALLS = 8           # it calls what may be C code
    RAISES = 16         # it raises

cdef enum:
    COPIED = 0          # copied, or found unchanged
    CHANGED = 1         # the address holds another code object now, or something that is none
    UNREADABLE = 2      # the memory could not be read


cdef struct Text:
    char *data          # characters as the target has them: `kind` bytes each, native byte order
    uint32_t size       # bytes
    uint8_t kind        # 1, 2 or 4


# Who ran a generator, when it was last seen to run.
cdef struct Driver:
    uintptr_t address, code # of that frame
    uint8_t by_c            # C code stood between the two


cdef struct Code:
    uintptr_t address
    uint64_t first_ns       # when it was first seen
    uint64_t validated_ns   # when it was last known to be the object at `address`
    uint64_t asked_ns       # of which read it was asked last whether it still is
    uint64_t name_hash
    int64_t length          # bytes of bytecode
    uintptr_t bytecode      # where that is
    uint8_t *back           # for each of its 2-byte units: how many units before it its instruction begins; or NULL
    uint8_t *roles          # for each unit the role of its instruction; or NULL
    int32_t locals, frame_bytes  # of a frame of it, on the data stack (3.11+)
    int32_t first_line
    uint8_t hidden          # an interpreter-internal shim, not a function of the program
    uint8_t alive           # still what `address` maps to
    Driver driver           # of the last one of this function
    Text texts[NAMES]
    Text lines              # the location table
    char identity[CODE_MAX]


# All code objects seen, by id; a second object at a reused address gets an id of its own.
cdef struct CodeTable:
    Code *codes
    uint32_t count, capacity
    uint32_t *slots         # open addressing: address -> id of the living one
    uint32_t slot_count
    uint32_t recent[RECENT] # by instruction: the code object that was found to hold it
    uintptr_t code_type     # address of PyCode_Type, learned from the first code object
    int32_t identity_start, identity_end
    uint64_t reused_ns      # when an address was last found to hold another object, 0 = never
    uint8_t caches[256]     # how many units of inline cache follow each instruction
    bint with_opcodes       # instructions are wanted
    uint8_t roles[256]      # of each instruction
    uint8_t native[256]     # 1: a frame that is innermost and at this instruction runs C code


cdef int codes_init(CodeTable *table, Layout *layout) noexcept nogil
cdef void codes_clear(CodeTable *table) noexcept nogil
cdef uint32_t codes_find(CodeTable *table, uintptr_t address) noexcept nogil
cdef uint32_t codes_holding(CodeTable *table, int64_t instr) noexcept nogil
cdef uint32_t codes_add(CodeTable *table, Memory *memory, Layout *layout, uintptr_t address) noexcept nogil
cdef int codes_validate(CodeTable *table, Memory *memory, Layout *layout,
                        uint32_t *ids, size_t count) noexcept nogil
cdef uint8_t code_role(Code *code, int64_t offset) noexcept nogil
cdef object codes_export(CodeTable *table, uint32_t start)
