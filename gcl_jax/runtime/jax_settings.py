"""JAX's settings under a command: which of them change numbers, and what a command does about each.

JAX reads them from variables of the environment: jax_enable_x64 from JAX_ENABLE_X64. A command

- sets those that random numbers, dtypes and shapes depend on (`PINNED`);
- leaves experimental ones, and those that only make JAX refuse things, at JAX's default (`LEFT_AT_DEFAULT`);
- takes x64 from the user, as a part of the run's fingerprint (`FINGERPRINTED`);
- takes the compiler's settings from the user, and records them (`COMPILER`);
- takes from the user whatever changes no number (`HARMLESS`).

A program that imports gcl_jax as a library keeps all its settings.
"""

import enum
import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from gcl_jax.errors import UserError

# Random numbers, and the dtypes and shapes of results, depend on these.
PINNED = {
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_explicit_x64_dtypes": "warn",
    "jax_high_dynamic_range_gumbel": False,
    "jax_softmax_custom_jvp": False,
    "jax_accurate_erf_inv": False,
    "jax_disable_jit": False,
    "jax_debug_infs": False,
}

FINGERPRINTED = ("jax_enable_x64",)

# Set by config.precision and config.debug_nans.
BY_CONFIG = ("jax_default_matmul_precision", "jax_debug_nans")

LEFT_AT_DEFAULT = frozenset(
    """
    check_vma eager_constant_folding jax2tf_associative_scan_reductions jax_allow_f16_reductions
    jax_array_garbage_collection_guard jax_auto_pcast jax_bcoo_cusparse_lowering jax_check_static_indices
    jax_check_tracer_leaks jax_compilation_cache_expect_pgle jax_custom_jvp3 jax_custom_vjp3 jax_debug_key_reuse
    jax_default_device jax_disable_bwd_checks jax_disable_vmap_shmap_error jax_disallow_mesh_context_manager
    jax_embedded_constants_max_bytes jax_enable_checks jax_enable_custom_prng jax_error_checking_behavior_divide
    jax_error_checking_behavior_nan jax_error_checking_behavior_oob jax_experimental_unsafe_xla_runtime_errors
    jax_export_calling_convention_version jax_legacy_prng_key jax_mutable_array_checks jax_no_execution jax_no_tracing
    jax_pallas_enable_debug_checks jax_pallas_poison_buffers jax_ragged_dot_use_gpu_pallas_triton_lowering
    jax_ragged_dot_use_ragged_dot_instruction jax_raise_on_ppermute_sort_diff jax_refs_to_pins
    jax_remat_barrier_no_cotangents jax_remat3 jax_remove_size_one_mesh_axis_from_type jax_scan3 jax_thread_guard
    jax_threefry_gpu_kernel_lowering jax_transfer_guard jax_transfer_guard_device_to_device
    jax_transfer_guard_device_to_host jax_transfer_guard_host_to_device jax_use_cpp_shard_args
    jax_use_direct_linearize jax_use_emit_pipeline_primitive jax_use_hlo_logistic_lowering jax_use_rgv3
    jax_use_shardy_partitioner jax_use_simplified_jaxpr_constants
    """.split()  # noqa: SIM905
)

# These change numbers by rounding.
COMPILER = frozenset(
    """
    jax_compiler_enable_remat_pass jax_cpu_collectives_implementation jax_disable_most_optimizations jax_enable_pgle
    jax_exec_time_optimization_effort jax_memory_fitting_effort jax_memory_fitting_level jax_optimization_level
    jax_pgle_aggregation_percentile jax_pgle_profiling_runs jax_pjrt_client_create_options jax_use_magma
    jax_xla_profile_version
    """.split()  # noqa: SIM905
)
# The same, of variables that XLA and its libraries read by themselves.
COMPILER_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")

# About devices (result.json names them), caches, messages, checks of exported programs, and several processes.
HARMLESS = frozenset(
    """
    jax2tf_default_native_serialization jax_backend_target jax_captured_constants_report_frames
    jax_captured_constants_warn_bytes jax_check_proxy_envs jax_compilation_cache_check_contents
    jax_compilation_cache_dir jax_compilation_cache_include_metadata_in_key jax_compilation_cache_max_size
    jax_compiler_detailed_logging_min_ops jax_cpu_enable_async_dispatch jax_cpu_get_global_topology_timeout_minutes
    jax_cpu_get_local_topology_timeout_minutes jax_cross_host_transfer_socket_address
    jax_cross_host_transfer_timeout_seconds jax_cross_host_transfer_transfer_size jax_cross_host_transport_addresses
    jax_cuda_visible_devices jax_debug_leaked_clients_on_clear_backends jax_debug_log_modules jax_distributed_debug
    jax_distributed_verify_secure_credentials jax_dump_ir_modes jax_dump_ir_to jax_enable_compilation_cache
    jax_enable_preemption_service jax_enable_recoverability jax_explain_cache_misses
    jax_export_deserialize_expired_versions jax_export_ignore_forward_compatibility jax_force_dcn_cross_host_transfers
    jax_hlo_source_file_canonicalization_regex jax_include_debug_info_in_dumps
    jax_include_full_tracebacks_in_locations jax_log_checkpoint_residuals jax_log_compiles jax_logging_level
    jax_mock_gpu_topology jax_mosaic_allow_hlo jax_mosaic_unzip_debug_locations jax_mtls_ca_file jax_mtls_cert_file
    jax_mtls_key_file jax_mtls_peer_uri_prefix jax_num_cpu_devices jax_oneapi_visible_devices
    jax_pallas_auto_assign_collective_ids jax_pallas_auto_assign_collective_ids_limit jax_pallas_use_mosaic_gpu
    jax_pallas_verbose_errors jax_persistent_cache_enable_xla_caches jax_persistent_cache_min_compile_time_secs
    jax_persistent_cache_min_entry_size_bytes jax_platform_name jax_platforms jax_pprint_use_color
    jax_raise_persistent_cache_errors jax_remove_custom_partitioning_ptr_from_cache_key jax_rocm_visible_devices
    jax_send_traceback_to_runtime jax_serialization_version jax_share_binary_between_hosts
    jax_share_binary_between_hosts_timeout_ms jax_sort_devices_by_process_index jax_source_url_schema
    jax_traceback_filtering jax_traceback_in_locations_limit jax_tracer_error_num_traceback_frames jax_xla_backend
    mock_num_gpu_processes
    """.split()  # noqa: SIM905
)
# Variables that are no settings of JAX's configuration: where the processes of a run find each other.
_PROCESS_VARIABLES = {
    f"JAX_{name}"
    for name in (
        "COORDINATOR_ADDRESS", "COORDINATOR_BIND_ADDRESS", "LOCAL_DEVICE_IDS", "NUM_PROCESSES", "PARTITION_INDEX",
        "PROCESS_ID", "SLICE_INDEX",
    )
}  # fmt: skip


def drop_unused() -> None:
    """Remove from the environment the settings that a command does not use, and print them; before JAX is imported.

    Raises UserError where JAX cannot be imported with the rest.
    """
    unused = _names(PINNED, BY_CONFIG, LEFT_AT_DEFAULT) & os.environ.keys()
    if message := ", ".join(f"{name}={os.environ.pop(name)}" for name in sorted(unused)):
        hint = "; --config.precision and --config.debug_nans are for that" if unused & _names(BY_CONFIG) else ""
        print(f"not used, so that no number depends on it: {message}{hint}", file=sys.stderr)
    try:
        import jax  # noqa: F401
    except ValueError as error:
        raise UserError(f"JAX does not start ({_first_line(error)}): {_hint([])}") from error


def pin() -> None:
    """Set what is `PINNED`, and start JAX's backend; UserError that names the variable where there is no such device.

    For commands only; in a run of several processes after `distributed.start`.
    """
    import jax

    for name, value in PINNED.items():
        if name in jax.config.values:
            jax.config.update(name, value)
    try:
        jax.devices()
    except Exception as error:  # RuntimeError, or an AssertionError, where a plugin is not installed
        reason = f" ({message})" if (message := _first_line(error)) else ""
        of_devices = [name for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME") if os.environ.get(name)]
        raise UserError(f"JAX finds no device to compute on{reason}: {_hint(of_devices)}") from error


def _names(*settings: Iterable[str]) -> set[str]:
    """The variables of the environment for ``settings``, collections of JAX's names."""
    return {name.upper() for names in settings for name in names}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(" (set JAX_PLATFORMS")[0][:300]


def _hint(of_devices: Sequence[str]) -> str:
    """Which variables may be wrong, those ``of_devices`` or, without such, any of JAX's, and what to do."""
    variables = of_devices or sorted(name for name in os.environ if name.startswith("JAX_"))
    if not variables:
        return "see https://docs.jax.dev/en/latest/installation.html"
    message = ", ".join(f"{name}={os.environ[name]}" for name in variables)
    if of_devices:
        return f"the environment says {message}; unset it, or set it to cpu, or install JAX for that device"
    return f"the environment says {message}; unset or correct what is wrong of it"


def fingerprint() -> dict[str, bool]:
    """JAX's settings that are part of a run's fingerprint; {} where they have their defaults, as in older runs."""
    import jax

    return {name: True for name in FINGERPRINTED if getattr(jax.config, name)}


def used() -> dict[str, object]:
    """The settings that numbers depend on, by JAX's names, for the record."""
    import jax

    settings = {name: getattr(jax.config, name) for name in (*FINGERPRINTED, *PINNED) if name in jax.config.values}
    return {name: value.name.lower() if isinstance(value, enum.Enum) else value for name, value in settings.items()}


def compiler() -> dict[str, str]:
    """The variables that are set in the environment by which the compiler may round differently."""
    return of_compiler(os.environ)


def of_compiler(environment: Mapping[str, str]) -> dict[str, str]:
    """What `compiler` returns, for an ``environment``; a setting of JAX that is not listed here counts as one of them.

    >>> of_compiler({"XLA_FLAGS": "--xla_cpu_enable_fast_math=true", "JAX_LOG_COMPILES": "1", "HOME": "/"})
    {'XLA_FLAGS': '--xla_cpu_enable_fast_math=true'}
    """
    known = _names(PINNED, FINGERPRINTED, BY_CONFIG, LEFT_AT_DEFAULT, HARMLESS) | _PROCESS_VARIABLES
    unknown = {name for name in environment if name.startswith("JAX_")} - known
    return {name: environment[name] for name in sorted({*COMPILER_VARIABLES, *unknown}) if environment.get(name)}
