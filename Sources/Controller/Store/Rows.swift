import ControllerDomain
import FastableCore
import FoundationEssentials
import GRDB

/// Statements are the same text every time and stay prepared. Parameters are written `$1`, `$2`, … and stand in the
/// text in this order when they appear first: SQLite numbers them so, and PostgreSQL takes them as they are.
extension Database {
    /// The first row, also of a change with `RETURNING`.
    func row(_ sql: String, _ values: (any DatabaseValueConvertible)?...) throws -> Row? {
        try Row.fetchOne(cachedStatement(sql: sql), arguments: StatementArguments(values))
    }

    func rows(_ sql: String, _ values: (any DatabaseValueConvertible)?...) throws -> [Row] {
        try rows(sql, values: values)
    }

    func rows(_ sql: String, values: [(any DatabaseValueConvertible)?]) throws -> [Row] {
        try Row.fetchAll(cachedStatement(sql: sql), arguments: StatementArguments(values))
    }

    /// Runs a change; gives the number of rows that it touched.
    @discardableResult
    func change(_ sql: String, _ values: (any DatabaseValueConvertible)?...) throws -> Int {
        try cachedStatement(sql: sql).execute(arguments: StatementArguments(values))
        return changesCount
    }

    func integer(_ sql: String, _ values: (any DatabaseValueConvertible)?...) throws -> Int {
        let row = try Row.fetchOne(cachedStatement(sql: sql), arguments: StatementArguments(values))
        guard let row else { return 0 }
        var reader = RowReader(row)
        return Int(try reader.integer())
    }
}

/// Reads the columns of a row from left to right. A value of the wrong kind is a damaged database, never a crash.
struct RowReader {
    private let row: Row
    private var column = 0

    init(_ row: Row) { self.row = row }

    private mutating func next() -> DatabaseValue.Storage {
        defer { column += 1 }
        let value: DatabaseValue = row[column]
        return value.storage
    }

    func damaged() -> FastableError {
        FastableError(
            .internal, "The controller's database is damaged. Stop the controller and restore a backup.",
            context: "column \(column) of \(Array(row.columnNames))")
    }

    mutating func optionalText() throws -> String? {
        switch next() {
        case .null: nil
        case .string(let text): text
        case .int64, .double, .blob: throw damaged()
        }
    }

    mutating func text() throws -> String {
        guard let text = try optionalText() else { throw damaged() }
        return text
    }

    mutating func optionalInteger() throws -> Int64? {
        switch next() {
        case .null: nil
        case .int64(let value): value
        case .double, .string, .blob: throw damaged()
        }
    }

    mutating func integer() throws -> Int64 {
        guard let value = try optionalInteger() else { throw damaged() }
        return value
    }

    mutating func real() throws -> Double {
        switch next() {
        case .double(let value): value
        case .int64(let value): Double(value)
        case .null, .string, .blob: throw damaged()
        }
    }

    mutating func bytes() throws -> [UInt8] {
        guard case .blob(let data) = next() else { throw damaged() }
        return [UInt8](data)
    }

    mutating func optionalBytes() throws -> [UInt8]? {
        switch next() {
        case .null: nil
        case .blob(let data): [UInt8](data)
        case .int64, .double, .string: throw damaged()
        }
    }

    mutating func optionalDate() throws -> Date? { try optionalInteger().map(Date.init(milliseconds:)) }

    mutating func date() throws -> Date { Date(milliseconds: try integer()) }

    mutating func id<Kind>() throws -> ID<Kind> {
        guard let id = ID<Kind>(try text()) else { throw damaged() }
        return id
    }

    mutating func optionalID<Kind>() throws -> ID<Kind>? {
        guard let text = try optionalText() else { return nil }
        guard let id = ID<Kind>(text) else { throw damaged() }
        return id
    }

    mutating func oneOf<Value: RawRepresentable<String>>() throws -> Value {
        guard let value = Value(rawValue: try text()) else { throw damaged() }
        return value
    }

    mutating func json<Value: Decodable>() throws -> Value {
        let text = try text()
        do {
            return try JSON.decode(Value.self, from: Data(text.utf8))
        } catch {
            throw damaged()
        }
    }

    mutating func optionalJSON<Value: Decodable>() throws -> Value? {
        guard let text = try optionalText() else { return nil }
        do {
            return try JSON.decode(Value.self, from: Data(text.utf8))
        } catch {
            throw damaged()
        }
    }
}

extension JSON {
    static func text(_ value: some Encodable) throws -> String { String(decoding: try encode(value), as: UTF8.self) }
}
