import FastableCore
import GRDB

/// The store in one SQLite file: the embedded default.
///
/// With a write-ahead log: what returned survives the death of the process, and a loss of power as its `Durability` says; the
/// file stays consistent. Reads run beside writes. All writes go through one queue, see `WriteQueue`.
public final class SQLiteStore: Store {
    private let pool: DatabasePool
    private let writes: WriteQueue
    let signals = EventSignals()

    /// Opens the file, or makes it, and brings it to the current schema. Blocks; meant for the start of the program.
    ///
    /// The file and its companions get mode 0600, a directory that is missing is made with mode 0700. Throws what an
    /// operator can act on; the path stands in the error's context.
    public init(path: String) throws {
        do {
            try DatabaseFile.prepare(path)
            pool = try DatabasePool(path: path, configuration: Self.configuration)
            try pool.writeWithoutTransaction { try Schema.migrate($0) }
        } catch {
            var failure = StoreFailure.translate(error)
            failure.context = [path, failure.context].compactMap(\.self).joined(separator: ": ")
            throw failure
        }
        writes = WriteQueue(pool, saver: LogSaver(database: path))
    }

    private static var configuration: Configuration {
        var configuration = Configuration()
        configuration.label = "fastable.store"
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { db in
            // A schema that was tampered with must not run functions. The log goes into the file every 4000 pages
            // rather than every 1000: the write that has to do it waits some milliseconds. The log is emptied then: to write
            // over its old pages the kernel would have to read them first, wherever it has dropped them from memory.
            try db.execute(
                sql: """
                    PRAGMA trusted_schema = OFF;
                    PRAGMA wal_autocheckpoint = 4000;
                    PRAGMA journal_size_limit = 0
                    """)
        }
        return configuration
    }

    public func close() throws {
        do {
            try pool.close()
        } catch {
            throw StoreFailure.translate(error)
        }
    }

    /// A consistent view; sees all writes that returned before.
    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do {
            return try await pool.read(body)
        } catch {
            throw StoreFailure.translate(error)
        }
    }

    /// A transaction. The body may run twice and then has to do the same again: it touches nothing but the database.
    @discardableResult
    func write<Value: Sendable>(
        _ durability: Durability = .now, _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws -> Value {
        do {
            return try await writes.submit(durability, body)
        } catch {
            throw StoreFailure.translate(error)
        }
    }
}
