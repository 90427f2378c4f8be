import FastableCore
import FoundationEssentials
import Glibc
import NIOCore
import NodeLinux
import Synchronization

/// The directory of a project's execs: a record per ended exec, a folder with output per exec that printed.
///
/// All methods block on the disk; call them on `BlockingPool`.
final class ExecStore: Sendable {
    /// What a directory held when the daemon started.
    struct Contents: Sendable {
        var complete: Set<ExecID> = []
        /// Execs that were running, or whose background processes were, when it was last written.
        var incomplete: Set<ExecID> = []
        /// The highest that a command of the present container had.
        var highestNumber: UInt32 = 0
    }

    let directory: String
    /// Complete records.
    private let kept: Mutex<KeptExecs>

    init(
        directory: String, recordLimit: Int = Limits.finishedExecsKept, spoolLimit: Int = Limits.finishedExecOutputBytes
    ) {
        self.directory = directory
        kept = Mutex(
            KeptExecs(
                recordLimit: recordLimit, spoolLimit: spoolLimit, ageSeconds: Limits.finishedExecDays * 24 * 3600))
    }

    func spool(_ exec: ExecID, _ stream: String, isNew: Bool) -> SpoolFile {
        let start = isNew ? 0 : SpoolFile.start(of: stream, in: folder(exec))
        return SpoolFile(directory: folder(exec), name: stream, capacity: Limits.execOutputKeptBytes, start: start)
    }

    private func folder(_ exec: ExecID) -> String { directory + "/" + exec.description }

    private func recordPath(_ exec: ExecID) -> String { folder(exec) + ".json" }

    /// Reads the directory, making it when it is not there.
    func scan(for container: ContainerID) throws(FastableError) -> Contents {
        if mkdir(directory, 0o700) < 0, errno != EEXIST {
            throw Self.failure(Errno.last, "create the folder of commands")
        }
        guard let stream = opendir(directory) else { throw Self.failure(Errno.last, "read the folder of commands") }
        defer { closedir(stream) }
        var contents = Contents()
        var folders: Set<ExecID> = []
        var records: [ExecRecord] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let exec = ExecID(name.hasSuffix(".json") ? String(name.dropLast(5)) : name) else { continue }
            if !name.hasSuffix(".json") { folders.insert(exec) }
            guard !contents.complete.contains(exec), !contents.incomplete.contains(exec) else { continue }
            let record = try read(exec)
            if let record, record.container == container {
                contents.highestNumber = max(contents.highestNumber, record.number ?? 0)
            }
            if let record, record.isComplete {
                contents.complete.insert(exec)
                records.append(record)
            } else {
                contents.incomplete.insert(exec)
            }
        }
        // The daemon may have ended between a record and this.
        for exec in folders.intersection(contents.complete) { removeState(exec) }
        for record in records.sorted(by: { $0.writtenMilliseconds < $1.writtenMilliseconds }) { keep(record) }
        return contents
    }

    /// The record of an exec; `nil` when there is none (any more).
    func read(_ exec: ExecID) throws(FastableError) -> ExecRecord? {
        do {
            let file = try FileDescriptor(opening: recordPath(exec), O_RDONLY | O_NOFOLLOW)
            let bytes = try file.readAll(limit: 64 * 1024)
            return try? JSON.decode(ExecRecord.self, from: Data(bytes))
        } catch {
            if error.number == ENOENT { return nil }
            throw Self.failure(error, "read the result of a command")
        }
    }

    /// Writes a record completely or not at all, and lets the oldest go when there are too many.
    func write(_ record: ExecRecord) throws(FastableError) {
        do {
            let bytes = try JSON.encode(record)
            let path = recordPath(record.exec)
            let temporary = path + ".new"
            // On a full disk half a file would take what is left.
            defer { unlink(temporary) }
            let file = try FileDescriptor(opening: temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
            try file.writeAll(Array(bytes))
            try Errno.check { rename(temporary, path) }
        } catch {
            throw FastableError.unexpected(error, doing: "writing the result of a command")
        }
        guard record.isComplete else { return }
        removeState(record.exec)
        keep(record)
    }

    /// The record says the last word about this exec.
    func isComplete(_ exec: ExecID) -> Bool { kept.withLock { $0.contains(exec) } }

    /// Completes the record of an exec that ended unseen; the output that is still there stays readable.
    func conclude(_ exec: ExecID, container: ContainerID) throws(FastableError) {
        var record =
            try read(exec)
            ?? ExecRecord(
                exec: exec, container: container, failure: ExecSession.lost, stdoutEnd: end(exec, "stdout"),
                stderrEnd: end(exec, "stderr"), isComplete: true, writtenMilliseconds: 0)
        record.isComplete = true
        record.writtenMilliseconds = WallClock.nowMilliseconds()
        try write(record)
    }

    /// Where a stream ended, as its file tells; 0 when it may have turned around and nobody knows where.
    private func end(_ exec: ExecID, _ stream: String) -> UInt64 {
        guard let file = try? FileDescriptor(opening: folder(exec) + "/" + stream, O_RDONLY | O_NOFOLLOW),
            let size = try? file.status().size, size < UInt64(Limits.execOutputKeptBytes)
        else { return 0 }
        return UInt64(size)
    }

    private func keep(_ record: ExecRecord) {
        let surplus = kept.withLock {
            $0.keep(
                KeptExecs.Entry(
                    exec: record.exec, writtenMilliseconds: record.writtenMilliseconds, spoolBytes: record.spoolBytes))
        }
        for exec in surplus.forgotten {
            removeSpool(exec)
            unlink(recordPath(exec))
        }
        for exec in surplus.emptied { removeSpool(exec) }
    }

    // MARK: secrets

    /// Keeps the secrets of a command that is about to start; `nil` when there are some of a command with its id.
    func keepSecrets(_ secrets: ExecSecrets, of exec: ExecID) throws(FastableError) -> SecretFile? {
        do throws(Errno) { return try SecretFile(secrets, in: folder(exec)) } catch {
            if error.number == EEXIST { return nil }
            throw Self.failure(error, "store the state of a command")
        }
    }

    /// What a restarted daemon needs to mask the output of a command; `nil` when it has no secrets.
    func secrets(of exec: ExecID) -> SecretFile? { SecretFile(foundIn: folder(exec)) }

    // MARK: input

    /// Keeps what a command that is about to start will read; `nil` when there is some of a command with its id.
    func keepInput(_ bytes: ByteBuffer, of exec: ExecID) throws(FastableError) -> InputFile? {
        do throws(Errno) { return try InputFile(bytes, in: folder(exec)) } catch {
            if error.number == EEXIST { return nil }
            throw FastableError.unexpected(error, doing: "storing the input of a command")
        }
    }

    /// What a command still has to be given by a restarted daemon; `nil` when others give it its input.
    func input(of exec: ExecID) throws(FastableError) -> ByteBuffer? {
        do throws(Errno) { return try InputFile.bytes(foundIn: folder(exec)) } catch {
            throw Self.failure(error, "read the input of a command")
        }
    }

    /// What only a command needs that is not over.
    private func removeState(_ exec: ExecID) {
        SecretFile.remove(from: folder(exec))
        InputFile.remove(from: folder(exec))
    }

    private func removeSpool(_ exec: ExecID) {
        removeState(exec)
        for stream in ["stdout", "stderr"] { SpoolFile.remove(stream, in: folder(exec)) }
        rmdir(folder(exec))
    }

    private static func failure(_ error: Errno, _ what: String) -> FastableError {
        FastableError(.internal, "The node could not \(what). Its log has the cause.", context: "\(error)")
    }
}
