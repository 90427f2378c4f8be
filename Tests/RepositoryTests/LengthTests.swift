import Testing

@Suite("Files and functions stay short")
struct LengthTests {
    static let fileLines = 500
    static let functionLines = 70

    @Test func noFileIsTooLong() throws {
        let files =
            try SourceTree.files(below: "Sources", extensions: ["swift", "c", "h"])
            + ["Tests", "scripts", "images", "Benchmarks"].flatMap {
                try SourceTree.files(below: $0, extensions: ["swift", "py", "sh"])
            }
        for kind in [".swift", ".c", ".h", ".py", ".sh"] {
            #expect(files.contains { $0.path.hasSuffix(kind) }, "the scan must have found files ‘\(kind)’")
        }
        for file in files {
            #expect(file.lines.count <= Self.fileLines, "\(file.path) has \(file.lines.count) lines; split it by noun")
        }
    }

    @Test func noFunctionIsTooLong() throws {
        var count = 0
        for file in try SourceTree.files(below: "Sources", extensions: ["swift", "c"]) {
            for function in SourceTree.functions(in: file) {
                count += 1
                #expect(
                    function.lineCount <= Self.functionLines,
                    "\(file.path):\(function.firstLine) ‘\(function.name)’ has \(function.lineCount) lines")
            }
        }
        #expect(count > 200, "the scan must have found the functions")
    }

    @Test func theScannerSeesALongFunction() {
        let body = String(repeating: "        work(\"}\")  // }\n", count: 80)
        let file = SourceTree.File(
            path: "x.swift", text: "struct X {\n    func long() {\n\(body)    }\n    func short() { }\n}\n")
        #expect(SourceTree.functions(in: file).map(\.lineCount) == [82, 1])
    }

    @Test func theScannerSeesALongFunctionInC() throws {
        let body = String(repeating: "    if (a) { work(); }\n", count: 80)
        let file = SourceTree.File(
            path: "x.c",
            text:
                "struct x {\n    int a;\n};\nint table[] = {\n    f(1),\n};\nint declared(int a,\n             int b);\n"
                + "static int long_one(int a,\n                    int b) {\n\(body)}\n\nint short_one(void) { return 1; }\n"
        )
        #expect(SourceTree.functions(in: file).map(\.lineCount) == [83, 1])
        let parent = try #require(try SourceTree.files(below: "Sources/CLinux", extensions: ["c"]).first)
        #expect(SourceTree.functions(in: parent).count > 1, "\(parent.path)")
    }
}
