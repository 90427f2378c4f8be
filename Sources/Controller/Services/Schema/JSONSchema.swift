public import FastableCore

/// The part of JSON Schema 2020-12 that operations need, as a value: written once per operation, it validates the input and
/// is what REST, OpenAPI and MCP publish.
public struct JSONSchema: Sendable, Equatable {
    public indirect enum Shape: Sendable, Equatable {
        case any
        case null
        case boolean
        /// Bounds are inclusive.
        case integer(minimum: Int64?, maximum: Int64?)
        case number(minimum: Double?, maximum: Double?)
        /// Bounds count UTF-8 bytes; `allowed` lists the only values, in order.
        case string(allowed: [String]?, minimumBytes: Int?, maximumBytes: Int?)
        case array(items: JSONSchema, minimum: Int?, maximum: Int?)
        case object(Members)
        /// An object with free keys and values of one kind.
        case map(values: JSONSchema, maximum: Int?)
        /// The value fits one of these; their types are disjoint.
        case anyOf([JSONSchema])
    }

    /// The members of an object, in the order in which they are explained.
    public struct Members: Sendable, Equatable {
        public var properties: [Property]
        /// `true` refuses members that are not listed: the rule for inputs. Answers stay open, so that a field can be added.
        public var isClosed: Bool

        public func property(_ name: String) -> Property? { properties.first { $0.name == name } }
    }

    public struct Property: Sendable, Equatable {
        public var name: String
        public var schema: JSONSchema
        public var isRequired: Bool
    }

    public var shape: Shape
    public var description: String?
    /// What a missing value means; told to the caller, applied by the operation.
    public var defaultValue: JSONValue?

    public init(_ shape: Shape, _ description: String? = nil, default defaultValue: JSONValue? = nil) {
        self.shape = shape
        self.description = description
        self.defaultValue = defaultValue
    }
}

extension JSONSchema.Property {
    public static func required(_ name: String, _ schema: JSONSchema) -> Self {
        Self(name: name, schema: schema, isRequired: true)
    }

    public static func optional(_ name: String, _ schema: JSONSchema) -> Self {
        Self(name: name, schema: schema, isRequired: false)
    }
}

extension JSONSchema {
    public static func string(
        _ description: String? = nil, minimumBytes: Int? = nil, maximumBytes: Int? = nil, default value: String? = nil
    ) -> Self {
        Self(
            .string(allowed: nil, minimumBytes: minimumBytes, maximumBytes: maximumBytes), description,
            default: value.map(JSONValue.string))
    }

    public static func oneOf(_ allowed: [String], _ description: String? = nil, default value: String? = nil) -> Self {
        Self(
            .string(allowed: allowed, minimumBytes: nil, maximumBytes: nil), description,
            default: value.map(JSONValue.string))
    }

    public static func integer(
        _ range: ClosedRange<Int>? = nil, _ description: String? = nil, default value: Int? = nil
    ) -> Self {
        Self(
            .integer(minimum: range.map { Int64($0.lowerBound) }, maximum: range.map { Int64($0.upperBound) }),
            description, default: value.map { .integer(Int64($0)) })
    }

    /// A count or a size: zero or more, without an upper bound.
    public static func count(_ description: String? = nil) -> Self {
        Self(.integer(minimum: 0, maximum: nil), description)
    }

    public static func number(
        _ range: ClosedRange<Double>? = nil, _ description: String? = nil, default value: Double? = nil
    ) -> Self {
        Self(
            .number(minimum: range?.lowerBound, maximum: range?.upperBound), description,
            default: value.map(JSONValue.number))
    }

    public static func boolean(_ description: String? = nil, default value: Bool? = nil) -> Self {
        Self(.boolean, description, default: value.map(JSONValue.bool))
    }

    public static func array(
        _ items: JSONSchema, _ description: String? = nil, minimum: Int? = nil, maximum: Int? = nil
    ) -> Self {
        Self(.array(items: items, minimum: minimum, maximum: maximum), description)
    }

    public static func map(_ values: JSONSchema, _ description: String? = nil, maximum: Int? = nil) -> Self {
        Self(.map(values: values, maximum: maximum), description)
    }

    public static func anyOf(_ choices: [JSONSchema], _ description: String? = nil) -> Self {
        Self(.anyOf(choices), description)
    }

    /// The schema or `null`: for answers whose fields may not apply.
    public static func nullable(_ schema: JSONSchema) -> Self {
        var bare = schema
        bare.description = nil
        return Self(.anyOf([bare, JSONSchema(.null)]), schema.description)
    }

    /// The object of an input: other members are refused.
    public static func input(_ properties: [Property], _ description: String? = nil) -> Self {
        Self(.object(Members(properties: properties, isClosed: true)), description)
    }

    /// The object of an answer: later versions may add members.
    public static func output(_ properties: [Property], _ description: String? = nil) -> Self {
        Self(.object(Members(properties: properties, isClosed: false)), description)
    }

    /// A date and time, RFC 3339 in UTC.
    public static func date(_ description: String) -> Self { .string(description + " RFC 3339, UTC.") }

    /// The same schema with every object closed: tests hold answers against it, so that no field stays undescribed.
    package func closed() -> JSONSchema {
        var copy = self
        switch shape {
        case .any, .null, .boolean, .integer, .number, .string: break
        case .array(let items, let minimum, let maximum):
            copy.shape = .array(items: items.closed(), minimum: minimum, maximum: maximum)
        case .object(let members):
            let properties = members.properties.map { property in
                Property(name: property.name, schema: property.schema.closed(), isRequired: property.isRequired)
            }
            copy.shape = .object(Members(properties: properties, isClosed: true))
        case .map(let values, let maximum): copy.shape = .map(values: values.closed(), maximum: maximum)
        case .anyOf(let choices): copy.shape = .anyOf(choices.map { $0.closed() })
        }
        return copy
    }
}
