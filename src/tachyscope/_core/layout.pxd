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
    int32_t thread_chunk
    int32_t chunk_previous
    int32_t chunk_size
    int32_t chunk_data
    int32_t generator_exc_state
    int32_t generator_state
    int32_t generator_frame
    int32_t generator_executing
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
    int32_t frame_locals
    int32_t frame_iterator
    int32_t code_size
    int32_t code_name
    int32_t code_qualname
    int32_t code_filename
    int32_t code_firstlineno
    int32_t code_linetable
    int32_t code_instructions
    int32_t code_bytecode
    int32_t code_locals
    int32_t code_stack_size
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
    from tachyscope._core.bounds import FIELDS, check, state_span
    cdef int32_t *fields = <int32_t *>layout
    cdef size_t i
    check(source)
    layout.state_start, layout.state_end = state_span(source)
    for i in range((sizeof(Layout) >> 2) - 2):
        fields[i] = getattr(source, FIELDS[i])
    return 0
