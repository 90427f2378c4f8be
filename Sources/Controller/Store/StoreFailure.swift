import FastableCore
import GRDB

/// Turns what SQLite says into what a person can act on. The original goes into the context, for the log.
enum StoreFailure {
    static func translate(_ error: any Error) -> FastableError {
        guard let error = error as? DatabaseError else {
            return FastableError.unexpected(error, doing: "using the database")
        }
        let (code, message) = explanation(of: error.resultCode)
        return FastableError(
            code, message, context: "\(error)", retryAfterSeconds: code == .unavailable ? 5 : nil)
    }

    /// Whether the database failed rather than one statement, so that the next write would wait and fail as well.
    static func concernsEveryWrite(_ error: any Error) -> Bool {
        switch (error as? DatabaseError)?.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_IOERR, .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_READONLY,
            .SQLITE_CANTOPEN, .SQLITE_MISUSE:
            true
        default: false
        }
    }

    private static func explanation(of code: ResultCode) -> (FastableError.Code, String) {
        switch code {
        case .SQLITE_FULL:
            (.unavailable, "The controller's disk is full. Free some space; nothing was written.")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            (.internal, "The controller's database is damaged. Stop the controller and restore a backup.")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN, .SQLITE_AUTH:
            (
                .unavailable,
                "The controller cannot write its database. Check the owner and the mode of its state directory, and "
                    + "that the file system is not read-only."
            )
        case .SQLITE_IOERR:
            (
                .unavailable,
                "The controller's disk does not work as it should. Look at the log of the controller and the kernel."
            )
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            (.unavailable, "The database is busy. Try again; if it stays so, end the other program that uses the file.")
        case .SQLITE_MISUSE:
            (.unavailable, "The database is closed, since the controller is shutting down.")
        case .SQLITE_CONSTRAINT:
            (.conflict, "It refers to something that does not exist any more, or it exists already.")
        default:
            (.internal, "The database failed. The log of the controller has the cause.")
        }
    }
}
