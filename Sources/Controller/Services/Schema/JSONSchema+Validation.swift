public import FastableCore

extension JSONSchema {
    /// Checks a value strictly.
    ///
    /// Throws `invalid` for a wrong type, a missing or an unknown field, and `unprocessable` for a value that is out of
    /// range; both name the field by its path, `edits[0].oldString`, in the message and in `details["field"]`.
    public func validate(_ value: JSONValue) throws { try validate(value, at: Path(), depth: 0) }

    /// Where in the input a value stands.
    private struct Path {
        var text = ""

        func member(_ name: String) -> Path { Path(text: text.isEmpty ? name : "\(text).\(name)") }
        func element(_ index: Int) -> Path { Path(text: "\(text)[\(index)]") }
        var name: String { text.isEmpty ? "input" : text }
    }

    private func validate(_ value: JSONValue, at path: Path, depth: Int) throws {
        guard depth < Limits.jsonDepth else {
            throw FastableError(.tooLarge, "The JSON is nested deeper than \(Limits.jsonDepth) levels. Flatten it.")
        }
        switch (shape, value) {
        case (.any, _), (.null, .null), (.boolean, .bool): return
        case (.integer(let minimum, let maximum), .integer), (.integer(let minimum, let maximum), .number):
            guard let integer = value.integer else { throw Self.wrongType(self, path) }
            try Self.check(integer, minimum, maximum, path)
        case (.number(let minimum, let maximum), .integer(let integer)):
            try Self.check(Double(integer), minimum, maximum, path)
        case (.number(let minimum, let maximum), .number(let number)):
            try Self.check(number, minimum, maximum, path)
        case (.string(let allowed, let minimum, let maximum), .string(let text)):
            try Self.check(text, allowed, minimum, maximum, path)
        case (.array(let items, let minimum, let maximum), .array(let elements)):
            try Self.check(elements.count, minimum, maximum, path, unit: "entries")
            for (index, element) in elements.enumerated() {
                try items.validate(element, at: path.element(index), depth: depth + 1)
            }
        case (.map(let values, let maximum), .object(let members)):
            try Self.check(members.count, nil, maximum, path, unit: "entries")
            for (name, member) in members {
                try values.validate(member, at: path.member(name.shortened), depth: depth + 1)
            }
        case (.object(let rule), .object(let members)):
            try Self.validate(members, rule, at: path, depth: depth)
        case (.anyOf(let choices), _):
            guard let choice = choices.first(where: { $0.acceptsType(of: value) }) else {
                throw Self.wrongType(self, path)
            }
            try choice.validate(value, at: path, depth: depth)
        case (.null, _), (.boolean, _), (.integer, _), (.number, _), (.string, _), (.array, _), (.map, _), (.object, _):
            throw Self.wrongType(self, path)
        }
    }

    private static func validate(
        _ members: [String: JSONValue], _ rule: Members, at path: Path, depth: Int
    ) throws {
        if rule.isClosed, let unknown = members.keys.filter({ rule.property($0) == nil }).min() {
            throw unknownField(unknown, rule, path)
        }
        for property in rule.properties {
            let place = path.member(property.name)
            switch members[property.name] {
            case nil where property.isRequired:
                throw FastableError(
                    .invalid, "The field ‘\(place.name)’ is missing: it must be \(property.schema.typeName).",
                    details: ["field": .string(place.name)])
            // `null` for an optional field means that it is not given: many clients send it so.
            case nil: continue
            case .null? where !property.isRequired: continue
            case let member?: try property.schema.validate(member, at: place, depth: depth + 1)
            }
        }
    }

    // MARK: single values

    private static func check<Number: Comparable>(
        _ value: Number, _ minimum: Number?, _ maximum: Number?, _ path: Path, unit: String = ""
    ) throws {
        if let minimum, value < minimum { throw outOfRange("\(minimum)", maximum.map { "\($0)" }, path, unit) }
        if let maximum, value > maximum { throw outOfRange(minimum.map { "\($0)" }, "\(maximum)", path, unit) }
    }

    private static func check(
        _ text: String, _ allowed: [String]?, _ minimum: Int?, _ maximum: Int?, _ path: Path
    ) throws {
        if let allowed, !allowed.contains(text) {
            let hint = NearestName.hint(for: text, among: allowed)
            throw FastableError(
                .unprocessable,
                "The field ‘\(path.name)’ must be one of \(allowed.joined(separator: ", ")).\(hint)",
                details: ["field": .string(path.name), "allowed": .array(allowed.map(JSONValue.string))])
        }
        if minimum == 1, text.isEmpty {
            throw FastableError(
                .unprocessable, "The field ‘\(path.name)’ must not be empty.", details: ["field": .string(path.name)])
        }
        try check(text.utf8.count, minimum, maximum, path, unit: "bytes")
    }

    private func acceptsType(of value: JSONValue) -> Bool {
        switch (shape, value) {
        case (.any, _), (.null, .null), (.boolean, .bool), (.number, .integer), (.number, .number),
            (.string, .string), (.array, .array), (.map, .object), (.object, .object):
            true
        case (.integer, .integer), (.integer, .number): value.integer != nil
        case (.anyOf(let choices), _): choices.contains { $0.acceptsType(of: value) }
        case (.null, _), (.boolean, _), (.integer, _), (.number, _), (.string, _), (.array, _), (.map, _), (.object, _):
            false
        }
    }

    /// For messages: `a string`, `an integer`.
    private var typeName: String {
        switch shape {
        case .any: "any value"
        case .null: "null"
        case .boolean: "true or false"
        case .integer: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .array(let items, _, _): "an array (each entry \(items.typeName))"
        case .map, .object: "an object"
        case .anyOf(let choices): choices.map(\.typeName).joined(separator: " or ")
        }
    }

    // MARK: errors

    private static func wrongType(_ schema: JSONSchema, _ path: Path) -> FastableError {
        FastableError(
            .invalid, "The field ‘\(path.name)’ has the wrong type: it must be \(schema.typeName).",
            details: ["field": .string(path.name)])
    }

    private static func outOfRange(
        _ minimum: String?, _ maximum: String?, _ path: Path, _ unit: String
    ) -> FastableError {
        let range =
            switch (minimum, maximum) {
            case (let minimum?, let maximum?): "between \(minimum) and \(maximum)"
            case (let minimum?, nil): "at least \(minimum)"
            case (nil, let maximum?): "at most \(maximum)"
            case (nil, nil): "in range"
            }
        var details: [String: JSONValue] = ["field": .string(path.name)]
        if let minimum { details["minimum"] = .string(minimum) }
        if let maximum { details["maximum"] = .string(maximum) }
        let what = unit.isEmpty ? "must be \(range)" : "must have \(range) \(unit)"
        return FastableError(.unprocessable, "The field ‘\(path.name)’ \(what).", details: details)
    }

    private static func unknownField(_ name: String, _ rule: Members, _ path: Path) -> FastableError {
        let place = path.member(name.shortened)
        let known = rule.properties.map(\.name)
        let hint = NearestName.hint(for: name, among: known)
        let list = known.isEmpty ? "There are no fields here." : "Known fields: \(known.joined(separator: ", "))."
        return FastableError(
            .invalid, "The field ‘\(place.name)’ is not known.\(hint.isEmpty ? " \(list)" : hint)",
            details: ["field": .string(place.name), "known": .array(known.map(JSONValue.string))])
    }
}
