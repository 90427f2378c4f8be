import FastableCore
import Glibc
import NodeLinux
import TestSupport
import Testing

@Suite struct SealedProgramTests {
    /// `F_GET_SEALS`, and all seals that are asked for: their own, against growing and shrinking, and against writing.
    private static let askForSeals: CInt = 1034
    private static let everySeal: CInt = 0xf

    @Test func theProgramRunsFromMemoryThatNobodyCanChange() async throws {
        let sealed = SealedProgram()
        let result = try await HostCommand("readlink", ["/proc/self/exe"], sealed: sealed).run()
        #expect(result.text == "/memfd:fastable-program (deleted)\n")

        let original = try FileDescriptor(opening: "/usr/bin/readlink", O_RDONLY).readAll(limit: 1 << 24)
        let copy = try #require(sealed.copy(of: "/usr/bin/readlink"))
        let file = try FileDescriptor(opening: copy.path, O_RDONLY)
        let bytes = try file.readAll(limit: 1 << 24)
        #expect(bytes == original)
        // What runc asks for before it takes a program for a copy of its own.
        let seals = fcntl(file.number, Self.askForSeals)
        try file.close()
        #expect(seals == Self.everySeal)
    }

    @Test func theCopyIsMadeOnceAndAgainWhenTheProgramWasReplaced() async throws {
        try await withTemporaryDirectory { directory in
            let program = directory + "/program"
            func install(_ name: String) throws {
                let bytes = try FileDescriptor(opening: "/usr/bin/" + name, O_RDONLY).readAll(limit: 1 << 24)
                try AtomicFile.write(program, bytes, mode: 0o755)
            }
            let sealed = SealedProgram()
            try install("true")
            #expect(try await HostCommand(program, [], sealed: sealed).run().status.isSuccess)
            #expect(sealed.copy(of: program) === sealed.copy(of: program))
            try install("false")
            #expect(try await HostCommand(program, [], sealed: sealed).run().status == .exited(1))
        }
    }

    @Test func aScriptIsRunWhereItIs() async throws {
        try await withTemporaryDirectory { directory in
            let program = directory + "/script"
            try AtomicFile.write(program, Array("#!/bin/sh\necho \"$0\"\n".utf8), mode: 0o755)
            let sealed = SealedProgram()
            #expect(sealed.copy(of: program) == nil)
            #expect(try await HostCommand(program, [], sealed: sealed).run().text == program + "\n")
        }
    }
}
