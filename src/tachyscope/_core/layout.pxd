from libc.stdint cimport int32_t


# The offsets that the core reads: `tachyscope.target.layouts.Layout` with the same names, in bytes, -1 = absent.
cdef struct Layout:
    int32_t interp_thread_head
    int32_t gil_holder
    int32_t gil_locked
    int32_t gil_switches
    int32_t exc_value
    int32_t exc_previous
    int32_t thread_next
    int32_t thread_prev
    int32_t thread_interp
    int32_t thread_id
    int32_t thread_native_id
    int32_t thread_unique_id
    int32_t thread_exception
    int32_t thread_exc_info
    int32_t thread_exc_state
    int32_t thread_frame
    int32_t thread_recursion_depth
    int32_t thread_cframe
    int32_t cframe_current_frame
    int32_t cframe_previous
    int32_t frame_size
    int32_t frame_code
    int32_t frame_previous
    int32_t frame_instr
    int32_t frame_owner
    int32_t frame_instr_kind
    int32_t frame_entry_owner
    int32_t frame_code_tag
    int32_t frame_stack_top
    int32_t frame_stack_top_kind
    int32_t frame_is_entry
    int32_t code_size
    int32_t code_name
    int32_t code_qualname
    int32_t code_filename
    int32_t code_firstlineno
    int32_t code_linetable
    int32_t code_instructions
    int32_t code_bytecode
    int32_t code_version
    int32_t object_type
    int32_t var_size
    int32_t type_name
    int32_t bytes_data
    int32_t unicode_length
    int32_t unicode_hash
    int32_t unicode_state
    int32_t unicode_kind_shift
    int32_t unicode_compact_shift
    int32_t unicode_ascii_shift
    int32_t unicode_ascii_data
    int32_t unicode_compact_data
    # What of a thread state is read with every sample: computed, see `bounds`.
    int32_t state_start
    int32_t state_end


cdef inline int layout_fill(Layout *layout, object source) except -1:
    """Copy the attributes of the same names from `source`; CorruptTarget if one cannot be."""
    from tachyscope._core.bounds import check, state_span
    check(source)
    layout.state_start, layout.state_end = state_span(source)
    layout.interp_thread_head = source.interp_thread_head
    layout.gil_holder = source.gil_holder
    layout.gil_locked = source.gil_locked
    layout.gil_switches = source.gil_switches
    layout.exc_value = source.exc_value
    layout.exc_previous = source.exc_previous
    layout.thread_next = source.thread_next
    layout.thread_prev = source.thread_prev
    layout.thread_interp = source.thread_interp
    layout.thread_id = source.thread_id
    layout.thread_native_id = source.thread_native_id
    layout.thread_unique_id = source.thread_unique_id
    layout.thread_exception = source.thread_exception
    layout.thread_exc_info = source.thread_exc_info
    layout.thread_exc_state = source.thread_exc_state
    layout.thread_frame = source.thread_frame
    layout.thread_recursion_depth = source.thread_recursion_depth
    layout.thread_cframe = source.thread_cframe
    layout.cframe_current_frame = source.cframe_current_frame
    layout.cframe_previous = source.cframe_previous
    layout.frame_size = source.frame_size
    layout.frame_code = source.frame_code
    layout.frame_previous = source.frame_previous
    layout.frame_instr = source.frame_instr
    layout.frame_owner = source.frame_owner
    layout.frame_instr_kind = source.frame_instr_kind
    layout.frame_entry_owner = source.frame_entry_owner
    layout.frame_code_tag = source.frame_code_tag
    layout.frame_stack_top = source.frame_stack_top
    layout.frame_stack_top_kind = source.frame_stack_top_kind
    layout.frame_is_entry = source.frame_is_entry
    layout.code_size = source.code_size
    layout.code_name = source.code_name
    layout.code_qualname = source.code_qualname
    layout.code_filename = source.code_filename
    layout.code_firstlineno = source.code_firstlineno
    layout.code_linetable = source.code_linetable
    layout.code_instructions = source.code_instructions
    layout.code_bytecode = source.code_bytecode
    layout.code_version = source.code_version
    layout.object_type = source.object_type
    layout.var_size = source.var_size
    layout.type_name = source.type_name
    layout.bytes_data = source.bytes_data
    layout.unicode_length = source.unicode_length
    layout.unicode_hash = source.unicode_hash
    layout.unicode_state = source.unicode_state
    layout.unicode_kind_shift = source.unicode_kind_shift
    layout.unicode_compact_shift = source.unicode_compact_shift
    layout.unicode_ascii_shift = source.unicode_ascii_shift
    layout.unicode_ascii_data = source.unicode_ascii_data
    layout.unicode_compact_data = source.unicode_compact_data
    return 0
