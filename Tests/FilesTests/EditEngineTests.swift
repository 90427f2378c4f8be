import FastableCore
import NodeFiles
import TestSupport
import Testing

@Suite struct EditEngineTests {
    private func apply(_ text: String, _ edits: (String, String)..., all: Bool = false) throws -> EditEngine.Outcome {
        try EditEngine.apply(
            edits.map { .init(oldString: $0.0, newString: $0.1, replaceAll: all) }, to: Array(text.utf8), path: "file")
    }

    private func text(_ outcome: EditEngine.Outcome) -> String { String(decoding: outcome.content, as: UTF8.self) }

    private func failure(_ text: String, _ edits: (String, String)..., all: Bool = false) throws -> FastableError {
        do {
            _ = try EditEngine.apply(
                edits.map { .init(oldString: $0.0, newString: $0.1, replaceAll: all) }, to: Array(text.utf8),
                path: "file")
        } catch let error as FastableError {
            return error
        }
        Issue.record("nothing was thrown")
        throw FastableError(.internal, "nothing was thrown")
    }

    // MARK: exact

    @Test func simple() throws {
        let outcome = try apply("one two three", ("two", "2"))
        #expect(text(outcome) == "one 2 three")
        #expect(outcome.replacements == 1)
        #expect(outcome.firstLine == 1)
        #expect(outcome.snippet == "one 2 three")
    }

    @Test func nothingIsTrimmedOrNormalised() throws {
        #expect(text(try apply("  a  \n", ("  a  ", " a"))) == " a\n")
        #expect(try failure("a b", ("a  b", "x")).code == .notFound)
        #expect(try failure("\ta", ("    a", "x")).code == .notFound)
        #expect(try failure("“a”", ("\"a\"", "x")).code == .notFound)
        // Composed and decomposed letters are different bytes.
        #expect(try failure("e\u{301}", ("\u{e9}", "x")).code == .notFound)
        #expect(text(try apply("$1 \\n $&", ("$1", "$& \\1"))) == "$& \\1 \\n $&")
    }

    @Test func deletionAndInsertion() throws {
        #expect(text(try apply("a\nb\nc\n", ("b\n", ""))) == "a\nc\n")
        #expect(text(try apply("only", ("only", ""))) == "")
        #expect(text(try apply("a", ("a", "ab"))) == "ab")
    }

    @Test func editsFollowOneAnother() throws {
        #expect(text(try apply("a", ("a", "b"), ("b", "c"), ("c", "d"))) == "d")
        // The second edit sees what the first one made: twice is ambiguous.
        #expect(try failure("a b", ("a", "b"), ("b", "c")).code == .ambiguous)
    }

    @Test func replaceAll() throws {
        let outcome = try apply("a.a.a", ("a", "bb"), all: true)
        #expect(text(outcome) == "bb.bb.bb")
        #expect(outcome.replacements == 3)
        #expect(text(try apply("aaaaa", ("aa", "b"), all: true)) == "bba")
        #expect(text(try apply("a", ("a", "aa"), all: true)) == "aa")
    }

    // MARK: refusals

    @Test func ambiguousTellsLines() throws {
        let error = try failure("x\ny\nx\nx\n", ("x", "z"))
        #expect(error.code == .ambiguous)
        #expect(error.details["count"] == 3)
        #expect(error.details["lines"] == [1, 3, 4])
        #expect(error.details["index"] == 0)
        #expect(error.message.contains("lines 1, 3, 4"))
    }

    @Test func ambiguousLinesAreBounded() throws {
        let error = try failure(String(repeating: "x\n", count: 1000), ("x", "z"))
        #expect(error.details["count"] == 1000)
        #expect(error.details["lines"]?.array?.count == 20)
    }

    @Test func overlappingPlacesAreAmbiguous() throws {
        let error = try failure("aaa", ("aa", "b"))
        #expect(error.code == .ambiguous)
        #expect(error.details["count"] == 2)
    }

    @Test func unprocessable() throws {
        #expect(try failure("a", ("a", "a")).details["reason"] == "no_op")
        #expect(try failure("a", ("", "b")).details["reason"] == "empty_old")
        #expect(try failure("", ("", "b")).details["reason"] == "empty_old")
        #expect(try failure("a b", ("a", "x"), ("x", "a")).details["reason"] == "no_op")
        #expect(try failure("a").code == .unprocessable)
        let error = try failure("a b", ("a", "b1"), ("b", "b"))
        #expect(error.code == .unprocessable)
        #expect(error.details["index"] == 1)
        #expect(error.message.contains("No edit was made"))
    }

    @Test func tooMany() throws {
        let edits = (0...Limits.fileEditsPerCall).map { FileEdit.Replacement(oldString: "\($0)", newString: "x") }
        #expect(throws: FastableError.self) { try EditEngine.apply(edits, to: [1], path: "file") }
    }

    @Test func growthIsBounded() throws {
        let error = try failure(
            String(repeating: "a", count: 100_000), ("a", String(repeating: "b", count: 1000)), all: true)
        #expect(error.code == .tooLarge)
    }

    // MARK: hints

    @Test func whitespaceDifferenceIsPointedOut() throws {
        let error = try failure("func f() {\n\treturn 1\n}\n", ("func f() {\n    return 1\n}", "x"))
        #expect(error.code == .notFound)
        #expect(error.details["whitespaceOnly"] == true)
        #expect(error.details["nearest"] == [["line": 1, "text": "func f() {\n\treturn 1\n}"]])
        #expect(error.message.contains("line 1 differs in white space only"))
    }

    @Test func nearestLines() throws {
        let text = "alpha\nlet total = computeTotal(items)\nomega\nlet count = items.count\n"
        let error = try failure(text, ("let total = computeTotals(item)", "x"))
        #expect(error.details["nearest"]?.array?.first?["line"] == 2)
        #expect(error.details["nearest"]?.array?.first?["text"] == "let total = computeTotal(items)")
        #expect(error.message.contains("The nearest line is 2: ‘let total = computeTotal(items)’"))
        #expect(try failure("alpha\n", ("zzzzzz", "x")).details["nearest"] == nil)
    }

    @Test func alreadyApplied() throws {
        let error = try failure("a\nnew text here\n", ("old text here", "new text here"))
        #expect(error.details["alreadyApplied"] == true)
        #expect(error.message.contains("probably made before"))
    }

    @Test func hintsOnHostileInputAreFast() throws {
        let long = String(repeating: "a ", count: 2_000_000)
        let seconds = try threadSeconds {
            _ = try failure(long, (String(repeating: "a", count: 100_000) + "b", "x"))
        }
        #expect(seconds < 20)
    }

    // MARK: line ends

    @Test func windowsFile() throws {
        let outcome = try apply("a\r\nb\r\nc\r\n", ("a\nb\n", "x\ny\nz\n"))
        #expect(text(outcome) == "x\r\ny\r\nz\r\nc\r\n")
        #expect(outcome.firstLine == 1)
        // The old text may have some CR already.
        #expect(text(try apply("a\r\nb\r\nc\r\n", ("a\r\nb\n", "x\n"))) == "x\r\nc\r\n")
        // A text on one line is matched exactly, so nothing is converted.
        #expect(text(try apply("a\r\nb\r\n", ("b", "x\ny"))) == "a\r\nx\ny\r\n")
    }

    @Test func mixedLineEndsAreLeftAlone() throws {
        #expect(try failure("a\r\nb\nc\r\n", ("a\nb", "x")).code == .notFound)
        #expect(text(try apply("a\r\nb\nc\r\n", ("a\r\nb\nc", "x"))) == "x\r\n")
        // The other way round is no retry: it would not be lossless.
        #expect(try failure("a\nb\n", ("a\r\nb", "x")).code == .notFound)
    }

    @Test func windowsFileStaysOneThroughSeveralEdits() throws {
        let outcome = try apply("a\r\nb\r\nc\r\n", ("a\nb", "1\n2"), ("2\nc", "3\n4"))
        #expect(text(outcome) == "1\r\n3\r\n4\r\n")
    }

    @Test func windowsAmbiguity() throws {
        let error = try failure("a\r\nb\r\na\r\nb\r\n", ("a\nb", "x"))
        #expect(error.code == .ambiguous)
        #expect(error.details["lines"] == [1, 3])
    }

    // MARK: where

    @Test func firstLineIsTheTopmostInTheNewText() throws {
        let lines = (1...30).map { "l\($0);\n" }.joined()
        #expect(try apply(lines, ("l20;", "x"), ("l5;", "y")).firstLine == 5)
        #expect(try apply(lines, ("l5;", "x"), ("l20;", "y")).firstLine == 5)
        #expect(try apply(lines, ("l5;", "x"), ("l3;\n", "")).firstLine == 3)
        #expect(try apply(lines, ("l9;\nl10;", "x")).firstLine == 9)
        #expect(try apply(lines, ("l1;\n", "")).firstLine == 1)
        #expect(try apply("a\nb", ("b", "")).firstLine == 2)
    }

    @Test func snippetHasFourLinesOnEachSide() throws {
        let lines = (1...30).map { "l\($0);\n" }.joined()
        #expect(try apply(lines, ("l10;", "a\nb")).snippet == "l6;\nl7;\nl8;\nl9;\na\nb\nl11;\nl12;\nl13;\nl14;\n")
        #expect(try apply(lines, ("l10;\n", "")).snippet == "l6;\nl7;\nl8;\nl9;\nl11;\nl12;\nl13;\nl14;\nl15;\n")
        #expect(try apply(lines, ("l2;", "x")).snippet == "l1;\nx\nl3;\nl4;\nl5;\nl6;\n")
        #expect(try apply("\nb\n", ("b", "x")).snippet == "\nx\n")
        #expect(try apply(lines, ("l30;", "x")).snippet == "l26;\nl27;\nl28;\nl29;\nx\n")
        let long = try apply("x", ("x", String(repeating: "ü", count: 100_000)))
        #expect(long.snippet.utf8.count <= Limits.editSnippetBytes)
        #expect(!long.snippet.unicodeScalars.contains("\u{fffd}"))
    }

    // MARK: random

    @Test func agreesWithASimpleModel() throws {
        var generator = SeededGenerator()
        for _ in 0..<3000 {
            let letters = ["a", "b", "\n"]
            func word(_ count: Int) -> String {
                (0..<count).map { _ in letters.randomElement(using: &generator) ?? "a" }.joined()
            }
            let content = word(Int.random(in: 0...12, using: &generator))
            let old = word(Int.random(in: 1...3, using: &generator))
            let new = word(Int.random(in: 0...3, using: &generator))
            let all = Bool.random(using: &generator)
            let expected = model(content, old, new, all)
            let actual = try? text(apply(content, (old, new), all: all))
            #expect(actual == expected, "seed \(generator.seed): \(content.debugDescription) \(old.debugDescription)")
        }
    }

    /// What an edit of one piece gives; `nil` when it is refused.
    private func model(_ content: String, _ old: String, _ new: String, _ all: Bool) -> String? {
        let bytes = Array(content.utf8)
        let wanted = Array(old.utf8)
        guard old != new else { return nil }
        let starts = bytes.indices.filter { bytes[$0...].starts(with: wanted) }
        guard let first = starts.first, all || starts.count == 1 else { return nil }
        var result = Array(bytes[..<first])
        var index = first
        while index < bytes.count {
            if bytes[index...].starts(with: wanted), all || index == first {
                result += new.utf8
                index += wanted.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        let text = String(decoding: result, as: UTF8.self)
        return text == content ? nil : text
    }
}
