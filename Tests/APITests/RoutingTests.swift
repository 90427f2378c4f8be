import ControllerAPI
import FastableCore
import HTTPTypes
import TestSupport
import Testing

@Suite struct RouteTableTests {
    private let table: RouteTable<String> = {
        var table = RouteTable<String>()
        table.add(.get, "/api/tools", "list")
        table.add(.post, "/api/tools/{operation}", "run")
        table.add(.get, "/api/projects/{project}/fs/file", "get")
        table.add(.put, "/api/projects/{project}/fs/file", "put")
        return table
    }()

    @Test func findsTheRouteAndItsParameters() throws {
        guard case .found("run", let pattern, let parameters) = try table.match(.post, "/api/tools/fs.read") else {
            Issue.record("not found")
            return
        }
        #expect(pattern == "/api/tools/{operation}" && parameters == ["operation": "fs.read"])
    }

    @Test func aParameterIsDecodedAndStaysOneSegment() throws {
        guard case .found("get", _, let parameters) = try table.match(.get, "/api/projects/a%2Fb%20c/fs/file") else {
            Issue.record("not found")
            return
        }
        #expect(parameters == ["project": "a/b c"])
    }

    @Test func aWrongMethodTellsTheRightOnes() throws {
        guard case .wrongMethod(_, let allowed) = try table.match(.delete, "/api/projects/p/fs/file") else {
            Issue.record("not a wrong method")
            return
        }
        #expect(allowed == [.get, .put])
    }

    @Test(arguments: [
        "/", "", "/api", "/api/tools/", "/api/tools/a/b", "/api/tools/x/", "/api//tools", "/API/tools",
        "/api/projects//fs/file",
    ])
    func otherPathsAreNotFound(path: String) throws {
        guard case .notFound = try table.match(.get, path) else {
            Issue.record("‘\(path)’ was found")
            return
        }
    }

    @Test(arguments: ["/api/tools/%", "/api/tools/%4", "/api/tools/%zz", "/api/tools/%ff", "/api/tools/%c3"])
    func aBrokenEscapeIsInvalid(path: String) throws {
        let error = #expect(throws: FastableError.self) { _ = try table.match(.post, path) }
        #expect(error?.code == .invalid)
    }
}

@Suite struct QueryTests {
    @Test func readsDecodedValues() throws {
        let query = try QueryParameters("path=src%2Fa+b.txt&follow&offset=12", allowed: ["path", "follow", "offset"])
        #expect(try query.required("path") == "src/a b.txt")
        #expect(try query.flag("follow"))
        #expect(try query.offset("offset") == 12)
        #expect(try QueryParameters(nil, allowed: []).flag("follow") == false)
        #expect(try QueryParameters("", allowed: []).offset("offset") == 0)
    }

    @Test(arguments: ["pth=a", "path=a&path=b", "path=%f"])
    func refusesWhatIsWrong(query: String) {
        let error = #expect(throws: FastableError.self) { _ = try QueryParameters(query, allowed: ["path"]) }
        #expect(error?.code == .invalid)
    }

    @Test func namesWhatIsMissingOrHasTheWrongForm() throws {
        let query = try QueryParameters("follow=perhaps&offset=-1&path=", allowed: ["follow", "offset", "path"])
        for read in [
            { _ = try query.required("path") }, { _ = try query.flag("follow") }, { _ = try query.offset("offset") },
        ] {
            let error = #expect(throws: FastableError.self) { try read() }
            #expect(error?.code == .invalid && error?.details["field"] != nil)
        }
    }
}

@Suite struct ByteRangeTests {
    @Test func readsTheThreeForms() {
        #expect(ByteRange("bytes=0-99") == .from(0, last: 99))
        #expect(ByteRange("bytes=5-") == .from(5, last: nil))
        #expect(ByteRange("bytes=-7") == .suffix(7))
    }

    @Test(arguments: [
        nil, "", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "items=0-1", "bytes=+1-2",
        "bytes=1-2-3", "bytes= 1-2", "bytes=99999999999999999999-",
    ])
    func ignoresEverythingElse(header: String?) { #expect(ByteRange(header) == nil) }

    /// Against a model that counts the bytes one by one.
    @Test(arguments: seeds())
    func resolvesLikeTheModel(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            let size = Int64.random(in: 0...20, using: &generator)
            let first = Int64.random(in: 0...25, using: &generator)
            let last = first + Int64.random(in: 0...25, using: &generator)
            let header = ["bytes=\(first)-\(last)", "bytes=\(first)-", "bytes=-\(first)"].randomElement(
                using: &generator)
            let range = try #require(ByteRange(header))
            let wanted = (0..<size).filter { index in
                switch range {
                case .from(let first, let last): index >= first && index <= last ?? .max
                case .suffix(let count): index >= size - count
                }
            }
            let resolved = range.resolve(size: size)
            #expect(resolved.map { Array($0.offset..<($0.offset + $0.length)) } ?? [] == wanted, "\(range) of \(size)")
        }
    }
}

@Suite struct OriginRuleTests {
    private let rule = OriginRule(allowed: ["https://console.example.com"])

    @Test(arguments: [
        "http://localhost", "http://localhost:3000", "https://127.0.0.1:7420", "http://[::1]:80",
        "https://console.example.com", "HTTPS://Console.Example.com",
    ])
    func allows(origin: String) throws { try rule.check([origin]) }

    @Test func programsSendNone() throws { try rule.check([]) }

    @Test(arguments: [
        "null", "http://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example",
        "http://localhost:3000.evil.example", "https://console.example.com.evil.example", "ftp://localhost",
        "http://localhost@evil.example", "",
    ])
    func refuses(origin: String) {
        let error = #expect(throws: FastableError.self) { try rule.check([origin]) }
        #expect(error?.code == .forbidden)
    }

    @Test func oneBadOriginAmongGoodOnesIsRefused() {
        #expect(throws: FastableError.self) { try rule.check(["http://localhost", "http://evil.example"]) }
    }
}
