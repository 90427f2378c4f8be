package import FastableCore
import FoundationEssentials
import Glibc
package import Logging
import NIOCore
import NodeLinux
import Synchronization

/// The directory of a project's execs: an entry per ended exec (`EndedResults`), a folder with output per exec that printed, and a
/// file for each of the few of which there is more to say: why they did not start, or that something of them goes on.
///
/// All methods block on the disk; call them on `BlockingPool`.
package final class ExecStore: Sendable {
    /// What a directory held when the daemon started.
    package struct Contents: Sendable {
        package var complete: Set<ExecID> = []
        /// Execs that were running, or whose background processes were, when it was last written.
        package var incomplete: Set<ExecID> = []
        /// The highest that a command of the present container had.
        package var highestNumber: UInt32 = 0
    }

    let directory: String
    /// Complete records.
    private let kept: Mutex<KeptExecs>
    private let recordLimit: Int
    private let results: EndedResults
    /// Ended execs whose output went round in its file. After a loss of power older bytes would stand in the place of those that only the
    /// kernel had, and the result would vouch for them: these bytes come to the disk before it does.
    private let turnedAround = Mutex<Set<ExecID>>([])
    private let logger: Logger

    /// - Parameter results: those in `directory`, when there are others who write to them.
    package init(
        directory: String, results: EndedResults? = nil, recordLimit: Int = Limits.finishedExecsKept,
        spoolLimit: Int = Limits.finishedExecOutputBytes, logger: Logger
    ) {
        self.directory = directory
        self.logger = logger
        self.recordLimit = recordLimit
        self.results = results ?? EndedResults(directory: directory + "/ended")
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
    package func scan(for container: ContainerID) throws(FastableError) -> Contents {
        if mkdir(directory, 0o700) < 0, errno != EEXIST {
            throw Self.failure(Errno.last, "create the folder of commands")
        }
        guard let stream = opendir(directory) else { throw Self.failure(Errno.last, "read the folder of commands") }
        defer { closedir(stream) }
        var folders: Set<ExecID> = []
        var files: [ExecID] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let exec = ExecID(name) { folders.insert(exec) }
            guard name.hasSuffix(".json") else { continue }
            if let exec = ExecID(String(name.dropLast(5))) { files.append(exec) }
        }
        var contents = Contents()
        for exec in files { try takeIn(exec, for: container, &contents) }
        try takeInNewest(folders, for: container, &contents)
        for exec in folders.subtracting(contents.complete) {
            if try !hasEnded(exec) { contents.incomplete.insert(exec) }
        }
        // The daemon may have ended between an entry and this.
        for exec in folders.intersection(contents.complete) { removeState(exec) }
        for exec in folders.union(files).subtracting(contents.complete).subtracting(contents.incomplete) {
            remove(exec)
        }
        return contents
    }

    /// A file tells of a command that goes on, or of the end of one: then the entry must be there, and is mostly enough.
    private func takeIn(
        _ exec: ExecID, for container: ContainerID, _ contents: inout Contents
    ) throws(FastableError) {
        let record = try readRecord(exec)
        if let record, record.container == container {
            contents.highestNumber = max(contents.highestNumber, record.number ?? 0)
        }
        if try hasEnded(exec) {
            if record?.isComplete != true || record?.failure == nil { unlink(recordPath(exec)) }
        } else if let record, record.isComplete {
            contents.complete.insert(exec)
            do { try write(record) } catch {
                // A full disk must not keep the container from being found.
                keep(record, hasOutput: true)
                logger.error("The result of a command cannot be kept: \(error)", metadata: ["exec": "\(exec)"])
            }
        } else {
            contents.incomplete.insert(exec)
        }
    }

    private func takeInNewest(
        _ folders: Set<ExecID>, for container: ContainerID, _ contents: inout Contents
    ) throws(FastableError) {
        do {
            try results.visitNewest(recordLimit) { record in
                contents.complete.insert(record.exec)
                if record.container == container {
                    contents.highestNumber = max(contents.highestNumber, record.number ?? 0)
                }
                keep(record, hasOutput: folders.contains(record.exec))
            }
        } catch { throw Self.failure(error, "read the results of commands") }
    }

    private func hasEnded(_ exec: ExecID) throws(FastableError) -> Bool {
        do { return try results.find(exec) != nil } catch { throw Self.failure(error, "read the result of a command") }
    }

    /// The record of an exec, or what is left of it; `nil` when there is none (any more).
    package func read(_ exec: ExecID) throws(FastableError) -> ExecRecord? {
        if let record = try readRecord(exec) { return record }
        do { return try results.find(exec) } catch { throw Self.failure(error, "read the result of a command") }
    }

    private func readRecord(_ exec: ExecID) throws(FastableError) -> ExecRecord? {
        let bytes: [UInt8]
        do throws(Errno) {
            let file = try FileDescriptor(opening: recordPath(exec), O_RDONLY | O_NOFOLLOW)
            bytes = try file.readAll(limit: 64 * 1024)
        } catch {
            if error.number == ENOENT { return nil }
            throw Self.failure(error, "read the result of a command")
        }
        do { return try JSON.decode(ExecRecord.self, from: Data(bytes)) } catch {
            logger.error(
                "The record of a command cannot be read; how it ended is lost.",
                metadata: ["exec": "\(exec)", "bytes": "\(bytes.count)", "error": "\(error)"])
            return nil
        }
    }

    /// Writes a record completely or not at all, and lets the oldest go when there are too many.
    package func write(_ record: ExecRecord) throws(FastableError) {
        do {
            if record.saysMoreThanItsEntry { try writeFile(record) }
            guard record.isComplete else { return }
            if max(record.stdoutEnd, record.stderrEnd) > UInt64(Limits.execOutputKeptBytes) {
                turnedAround.withLock { _ = $0.insert(record.exec) }
            }
            try results.append([record])
        } catch {
            throw FastableError.unexpected(error, doing: "writing the result of a command")
        }
        if !record.saysMoreThanItsEntry { unlink(recordPath(record.exec)) }
        removeState(record.exec)
        keep(record, hasOutput: true)
    }

    private func writeFile(_ record: ExecRecord) throws {
        let path = recordPath(record.exec)
        let temporary = path + ".new"
        // On a full disk half a file would take what is left.
        defer { unlink(temporary) }
        let file = try FileDescriptor(opening: temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        try file.writeAll(Array(try JSON.encode(record)))
        try Errno.check { rename(temporary, path) }
    }

    /// Something has ended that a loss of power would undo.
    var hasUnsaved: Bool { results.hasUnsaved }

    /// Puts how commands ended onto the disk itself, all that is new at once.
    package func save() throws(FastableError) {
        let execs = turnedAround.withLock { execs in
            defer { execs = [] }
            return execs
        }
        do throws(Errno) {
            for exec in execs {
                for stream in ["stdout", "stderr"] { try SpoolFile.synchronize(stream, in: folder(exec)) }
            }
            try results.save()
        } catch {
            turnedAround.withLock { $0.formUnion(execs) }
            throw Self.failure(error, "store the results of commands")
        }
    }

    /// The record says the last word about this exec.
    func isComplete(_ exec: ExecID) -> Bool { kept.withLock { $0.contains(exec) } }

    /// Completes the record of an exec that ended unseen; the output that is still there stays readable.
    package func conclude(_ exec: ExecID, container: ContainerID) throws(FastableError) {
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

    private func keep(_ record: ExecRecord, hasOutput: Bool) {
        let surplus = kept.withLock {
            $0.keep(
                KeptExecs.Entry(
                    exec: record.exec, writtenMilliseconds: record.writtenMilliseconds,
                    spoolBytes: hasOutput ? record.spoolBytes : 0))
        }
        for exec in surplus.forgotten { remove(exec) }
        for exec in surplus.emptied { removeSpool(exec) }
    }

    /// What is kept of a command beside its entry.
    private func remove(_ exec: ExecID) {
        removeSpool(exec)
        unlink(recordPath(exec))
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
