package cpython

import (
	"regexp"
	"slices"
	"strings"
)

// A reason is why a test cannot pass in a cell although it passes outside.
type reason struct {
	short string // for the summary
	// proof is found in what the test says inside: that it does not pass for
	// this reason and no other.
	proof *regexp.Regexp
	// host is set where it depends on the machine whether the test passes
	// outside.
	host bool
}

var (
	// A cell runs Python and no other program, and not a second time. The
	// child of a fork ends with 127 (os.spawnv) or 99 (regress.py) instead.
	programs = &reason{short: "start Python again", proof: regexp.MustCompile(
		`PermissionError: \[Errno 1\] Operation not permitted: ('/|4\n|4$)|requires a shell|\b127 != |exited with code (127|99)|failure 127`)}
	// A cell has none of the host's other programs.
	tools = &reason{short: "need another program", host: true, proof: regexp.MustCompile(
		`requires (ifconfig|ip)$|Need the \w+ command|gcc, needed for test|could not find libc|Unable to find C library|lib_glu? not available|None == None|#!/bin/bash`)}
	// There is no network, and no socket with a name.
	sockets = &reason{short: "open a socket", proof: regexp.MustCompile(
		`Address family not supported by protocol|self\.server\.sockets\[0\]`)}
	// The server process of multiprocessing.Manager listens on a socket.
	managers = &reason{short: "start a server process that listens", proof: regexp.MustCompile(`managers\.py(?s:.*)\nEOFError`)}
	// sendmsg and recvmsg could carry descriptors out of the cell.
	descriptors = &reason{short: "pass a descriptor", proof: regexp.MustCompile(`(sendmsg|recvmsg|sendfds|recvfds)(?s:.*)PermissionError: \[Errno 1\]`)}
	// The root is read-only: there, the kernel refuses to delete a file before
	// it looks whether there is one, and the tests expect FileNotFoundError.
	readOnly = &reason{short: "delete below the standard library", proof: regexp.MustCompile(`Read-only file system: '/usr/lib/`)}
	// The workspace is mounted noexec: nothing in it counts as a program.
	noExec = &reason{short: "make something executable", proof: regexp.MustCompile(
		`AssertionError: None != |mmap\.mmap\((?s:.*)PermissionError: \[Errno 1\]`)}
	// A file cannot be larger than the workspace.
	sizes = &reason{short: "need giant files", host: true, proof: regexp.MustCompile(
		`File too large|filesystem does not have largefile support|AssertionError: -1 != \d+`)}
	// There is no terminal, and /dev has no ptmx.
	terminals = &reason{short: "need a terminal", host: true, proof: regexp.MustCompile(
		`out of pty devices|openpty(?s:.*)No such file or directory|Inappropriate ioctl for device(?s:.*)tcsetpgrp`)}
	// Extended attributes answer as on a file system that has none.
	attributes = &reason{short: "need extended attributes", host: true, proof: regexp.MustCompile(`no non-broken extended attribute support`)}
	// Ids cannot be set, not even to what they are.
	identity = &reason{short: "set their ids", proof: regexp.MustCompile(`setres[ug]id(?s:.*)PermissionError: \[Errno 1\]`)}
	// Writing back is pretended, without a look at the descriptor.
	pretended = &reason{short: "sync a descriptor that is none", proof: regexp.MustCompile(`f(data)?sync> didn't raise`)}
	// Limits of other processes cannot be asked for, whether they exist or not.
	otherProcess = &reason{short: "ask for another process's limits", proof: regexp.MustCompile(`prlimit(?s:.*)PermissionError: \[Errno 1\]`)}
	// dnotify would show what other cells do in the shared root.
	notices = &reason{short: "use F_NOTIFY", proof: regexp.MustCompile(`fcntl\.fcntl\(fd, cmd, flags\)\s+OSError: \[Errno 22\]`)}
)

// reasons in the order of the summary.
var reasons = []*reason{
	programs, tools, sockets, managers, descriptors, readOnly, noExec, sizes, terminals, attributes, identity, pretended,
	otherProcess, notices,
}

// A difference is tests of a module that pass in one place only, for a reason.
type difference struct {
	module string
	why    *reason
	// tests are ids without that of the module. A star at the end of one stands
	// for the rest: those that say what proves the reason.
	tests string
}

// patterns are the tests that d names, one by one.
func (d difference) patterns() []string { return strings.Fields(d.tests) }

// explains says whether d is the reason why the module's test id, which ended
// as said, does not pass.
func (d difference) explains(id, said string) bool {
	named := slices.ContainsFunc(d.patterns(), func(p string) bool { return names(d.module, p, id) })
	return named && d.why.proof.MatchString(said)
}

// names says whether a pattern of a module's names the test.
func names(module, pattern, id string) bool {
	if _, rest, ok := strings.Cut(id, module+"."); ok {
		id = rest
	}
	start, star := strings.CutSuffix(pattern, "*")
	return id == start || star && strings.HasPrefix(id, start)
}

// differences are the whole list. What is not in it passes inside as outside.
var differences = []difference{
	{"test.test_asyncio.test_tasks", programs, "CoroutineGatherTests.test_env_var_debug FutureGatherTests.test_env_var_debug"},
	{"test_base64", programs, "TestMain.*"},
	{"test_builtin", programs, "ShutdownTest.test_cleanup"},
	{"test_builtin", terminals, "PtyTests.test_input_no_stdout_fileno"},
	{"test_bytes", programs, "ByteArrayTest.test_check_encoding_errors BytesTest.test_check_encoding_errors"},
	{"test_calendar", programs, "CommandLineTestCase.*"},
	{"test_code", programs, "CodeTest.test_endline_and_columntable_none_when_no_debug_ranges " +
		"CodeTest.test_endline_and_columntable_none_when_no_debug_ranges_env"},
	{"test_concurrent_futures", managers, "ProcessPoolForkProcessPoolExecutorTest.test_ressources_gced_in_workers"},
	{"test_coroutines", programs, "UnawaitedWarningDuringShutdownTest.test_unawaited_warning_during_shutdown"},
	{"test_ctypes", tools, "ctypes.test.test_callbacks.SampleCallbacksTestCase.test_issue_8959_a " +
		"ctypes.test.test_errno.Test.test_open ctypes.test.test_find.FindLibraryLinux.* " +
		"ctypes.test.test_find.Test_OpenGL_libs.test_gl ctypes.test.test_find.Test_OpenGL_libs.test_glu " +
		"ctypes.test.test_loading.LoaderTest.test_load ctypes.test.test_loading.LoaderTest.test_load_version"},
	{"test_exceptions", programs, "ExceptionTests.* SyntaxErrorTests.test_encodings SyntaxErrorTests.test_non_utf8"},
	{"test_fcntl", notices, "TestFcntl.test_fcntl_64_bit"},
	{"test_fstring", programs, "TestCase.test_filename_in_syntaxerror"},
	{"test_gc", programs, "GCTests.* PythonFinalizationTests.test_ast_fini"},
	{"test_graphlib", programs, "TestTopologicalSort.test_static_order_does_not_change_with_the_hash_seed"},
	{"test_gzip", programs, "TestCommandLine.*"},
	{"test_importlib", programs, "test_threaded_import.ThreadedImportTests.test_concurrent_futures_circular_import " +
		"test_threaded_import.ThreadedImportTests.test_multiprocessing_pool_circular_import"},
	{"test_importlib", readOnly, "test_threaded_import.ThreadedImportTests.test_circular_imports " +
		"test_threaded_import.ThreadedImportTests.test_side_effect_import"},
	{"test_inspect", programs, "TestGetsourceInteractive.test_getclasses_interactive TestMain.*"},
	{"test_io", programs, "CMiscIOTest.* CTextIOWrapperTest.test_create_at_shutdown_with_encoding " +
		"CTextIOWrapperTest.test_create_at_shutdown_without_encoding PyMiscIOTest.* " +
		"PyTextIOWrapperTest.test_create_at_shutdown_with_encoding " +
		"PyTextIOWrapperTest.test_create_at_shutdown_without_encoding"},
	{"test_io", sizes, "CIOTest.test_large_file_ops PyIOTest.test_large_file_ops"},
	{"test_json", programs, "test_tool.TestTool.*"},
	{"test_logging", programs, "ModuleLevelMiscTest.*"},
	{"test_marshal", programs, "BugsTestCase.test_deterministic_sets CodeTestCase.test_minimal_linetable_with_no_debug_ranges"},
	{"test_mmap", noExec, "MmapTests.test_access_parameter"},
	{"test_mmap", sizes, "LargeMmapTests.*"},
	{"test_module", programs, "ModuleTests.test_module_finalization_at_shutdown"},
	{"test_multiprocessing_fork", descriptors, "WithProcessesTestConnection.*"},
	{"test_multiprocessing_fork", managers, "WithProcessesTestSharedMemory.test_shared_memory_SharedMemoryManager_basics " +
		"WithProcessesTestSharedMemory.test_shared_memory_SharedMemoryServer_ignores_sigint"},
	{"test_multiprocessing_fork", programs, "WithProcessesTestSharedMemory.test_shared_memory_SharedMemoryManager_reuses_resource_tracker " +
		"WithProcessesTestSharedMemory.test_shared_memory_cleaned_after_process_termination"},
	{"test_os", pretended, "TestInvalidFD.test_fdatasync TestInvalidFD.test_fsync"},
	{"test_os", programs, "EnvironTests.* ForkTests.test_fork PidTests.* PosixUidGidTests.test_setregid_neg1 " +
		"PosixUidGidTests.test_setreuid_neg1 SpawnTests.* URandomTests.test_urandom_subprocess"},
	{"test_os", sockets, "TestSendfile.*"},
	{"test_os", terminals, "FDInheritanceTests.test_openpty TestInvalidFD.test_tcsetpgrpt"},
	{"test_os", attributes, "ExtendedAttributeTests.*"},
	{"test_pathlib", sockets, "PathTest.test_is_socket_true PosixPathTest.test_is_socket_true"},
	{"test_pickle", readOnly, "CUnpicklerTests.test_unpickle_module_race InMemoryPickleTests.test_unpickle_module_race " +
		"PyUnpicklerTests.test_unpickle_module_race"},
	{"test_posix", identity, "PosixTester.test_setresgid PosixTester.test_setresuid"},
	{"test_posix", programs, "PosixTester.*"},
	{"test_posixpath", programs, "PosixCommonTest.test_import"},
	{"test_quopri", programs, "QuopriTestCase.test_scriptdecode QuopriTestCase.test_scriptencode"},
	{"test_resource", otherProcess, "ResourceTest.test_prlimit"},
	{"test_resource", sizes, "ResourceTest.test_fsize_ismax"},
	{"test_select", programs, "SelectTestCase.test_select"},
	{"test_shutil", noExec, "TestWhich.* TestWhichBytes.*"},
	{"test_shutil", tools, "TestArchives.*"},
	{"test_struct", programs, "StructTest.test_struct_cleans_up_at_runtime_shutdown"},
	{"test_sys", programs, "SizeofTest.test_changing_sys_stderr_and_removing_reference SysModuleTest.*"},
	{"test_tarfile", programs, "CommandLineTest.*"},
	{"test_tempfile", programs, "TestMkstempInner.test_noinherit TestTemporaryDirectory.*"},
	{"test_threading", programs, "AtexitTests.* SubinterpThreadingTests.test_daemon_threads_fatal_error ThreadJoinOnShutdown.* " +
		"ThreadTests.* ThreadingExceptionTests.*"},
	{"test_tokenize", programs, "CTokenizerBufferTests.test_newline_at_the_end_of_buffer"},
	{"test_traceback", programs, "TracebackCases.*"},
	{"test_unicode", programs, "UnicodeTest.test_check_encoding_errors"},
	{"test_unicodedata", programs, "UnicodeMiscTest.test_failed_import_during_compiling"},
	{"test_unittest", programs, "unittest.test.test_program.TestCommandLineArgs.testSelectedTestNamesFunctionalTest " +
		"unittest.test.test_runner.Test_TextTestRunner.test_warnings"},
	{"test_uuid", tools, "TestInternalsWithExtModule.test_ifconfig_getnode TestInternalsWithExtModule.test_ip_getnode " +
		"TestInternalsWithoutExtModule.test_ifconfig_getnode TestInternalsWithoutExtModule.test_ip_getnode"},
	{"test_warnings", programs, "BootstrapTest.test_issue_8766 CEnvironmentVariableTests.* FinalizationTest.test_finalization " +
		"FinalizationTest.test_late_resource_warning PyEnvironmentVariableTests.* " +
		"PyWCmdLineTests.test_improper_option PyWCmdLineTests.test_warnings_bootstrap " +
		"PyWarningsDisplayTests.test_tracemalloc _WarningsTests.test_stderr_none"},
	{"test_weakref", programs, "FinalizeTestCase.test_atexit"},
	{"test_zipfile", programs, "CommandLineTest.* TestPath.test_encoding_warnings"},
	{"test_zipfile", tools, "TestExecutablePrependedZip.test_execute_zip2 TestExecutablePrependedZip.test_execute_zip64"},
}
