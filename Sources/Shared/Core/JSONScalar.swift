/// What JSON has a value for by itself, and what the standard library's coders treat each in its own way.
///
/// A whole number is read from `3` and from `3.0`, and only if `Int64` has it: what lies above, for which `UInt64` has
/// room, is not kept exactly by `JSONValue` and refused.
protocol JSONScalar: Codable {
    /// Throws the failure when the value is of another kind, or not one of this type's numbers.
    init(scalar value: JSONValue, or failure: () -> DecodingError) throws
    /// Throws for a number that JSON cannot express.
    func write(to text: inout JSONText) throws
}

extension Bool: JSONScalar {
    init(scalar value: JSONValue, or failure: () -> DecodingError) throws {
        guard case .bool(let truth) = value else { throw failure() }
        self = truth
    }

    func write(to text: inout JSONText) { text.write(self) }
}

extension String: JSONScalar {
    init(scalar value: JSONValue, or failure: () -> DecodingError) throws {
        guard case .string(let string) = value else { throw failure() }
        self = string
    }

    func write(to text: inout JSONText) { text.write(self) }
}

extension JSONScalar where Self: FixedWidthInteger {
    init(scalar value: JSONValue, or failure: () -> DecodingError) throws {
        guard let whole = value.integer, let number = Self(exactly: whole) else { throw failure() }
        self = number
    }

    func write(to text: inout JSONText) { text.write(isNegative: self < 0, magnitude: UInt64(magnitude)) }
}

extension JSONScalar where Self: BinaryFloatingPoint & CustomStringConvertible {
    init(scalar value: JSONValue, or failure: () -> DecodingError) throws {
        switch value {
        case .integer(let number): self.init(number)
        case .number(let number): self.init(number)
        case .null, .bool, .string, .array, .object: throw failure()
        }
        // A number that is too large for a `Float`.
        guard isFinite else { throw failure() }
    }

    func write(to text: inout JSONText) throws { try text.write(self) }
}

extension Int: JSONScalar {}
extension Int8: JSONScalar {}
extension Int16: JSONScalar {}
extension Int32: JSONScalar {}
extension Int64: JSONScalar {}
extension UInt: JSONScalar {}
extension UInt8: JSONScalar {}
extension UInt16: JSONScalar {}
extension UInt32: JSONScalar {}
extension UInt64: JSONScalar {}
extension Float: JSONScalar {}
extension Double: JSONScalar {}
