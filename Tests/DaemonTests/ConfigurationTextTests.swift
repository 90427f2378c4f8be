import FastableCore
import FastableDaemon
import TestSupport
import Testing

private typealias Sample = SampleConfiguration

@Suite struct ConfigurationTextTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func printConfigShowsValuesAndSources() throws {
        let file = try directory.file("c.yaml", "sandbox:\n  slots: 5\n")
        let text = try printed(
            ["--print-config", "--labels", "a,b c"], environment: ["FASTABLE_API_LISTEN": "[::1]:1"], file: file)
        let lines = text.split(separator: "\n").map(String.init)
        #expect(lines.first == "# fastable-sample \(Version.text)")
        #expect(lines.contains("instance: default  # default"))
        #expect(lines.contains("labels: [a, \"b c\"]  # flag --labels"))
        #expect(lines.contains("  listen: \"[::1]:1\"  # environment FASTABLE_API_LISTEN"))
        #expect(lines.contains("  slots: 5  # file \(file)"))
        #expect(lines.contains("  certificateFile:  # not set"))
        #expect(lines.contains("  idle: 30m  # default"))
        #expect(lines.contains("  memory: 1GiB  # default"))
        #expect(lines.contains("  level: info  # default"))
        #expect(lines.filter { $0 == "api:" }.count == 1)
    }

    @Test(arguments: ["flag", "environment", "file"])
    func printConfigNeverShowsSecrets(source: String) throws {
        let secret = "fjt_verysecret"
        let file = try directory.file("c.yaml", source == "file" ? "join:\n  token: \(secret)\n" : "")
        let text = try printed(
            ["--print-config"] + (source == "flag" ? ["--join-token", secret] : []),
            environment: source == "environment" ? ["FASTABLE_JOIN_TOKEN": secret] : [:], file: file)
        #expect(!text.contains("verysecret"))
        #expect(text.contains("  token:  # ‹redacted›, \(source)"))
    }

    @Test func aSecretIsNotRepeatedInErrors() throws {
        let file = try directory.file("c.yaml", "join:\n  token: [verysecret]\n")
        let error = #expect(throws: FastableError.self) { _ = try load(file: file) }
        #expect(error?.message.contains("join.token") == true)
        #expect(error?.description.contains("verysecret") == false)
    }

    @Test func whatIsPrintedCanBeReadAgain() throws {
        let hostile = "/tmp/a: b # \"c\" \\ \n'\u{1b}\u{202e}é"
        let flags = [
            "--state-directory", hostile, "--labels", "true,- x,null, ,#", "--sandbox-idle", "90s", "--instance", "no",
            "--api-allow-insecure",
        ]
        let file = try directory.file("printed.yaml", try printed(["--print-config"] + flags))
        let (first, second) = (try load(flags), try load(file: file))
        #expect(second[Sample.state] == hostile)
        #expect(second[Sample.labels] == first[Sample.labels])
        #expect(second[Sample.labels] == ["true", "- x", "null", " ", "#"])
        #expect(second[Sample.idle] == .seconds(90))
        #expect(second[Sample.instance] == "no")
        #expect(second[Sample.insecure])
        #expect(second.source(of: Sample.state) == .file(file))
    }

    @Test func helpIsMadeOfTheDeclarations() throws {
        let text = try printed(["--help"])
        for word in [
            "fastable-sample \(Version.text)", "A daemon that exists for tests.", "--api-listen HOST:PORT",
            "Where the API listens", "default: 127.0.0.1:7420", "FASTABLE_API_CERTIFICATE_FILE", "not set by default",
            "--sandbox-runtime runc|crun|runsc", "default: /var/lib/fastable/<instance>/node", "Sandbox:", "Examples:",
            "fastable-sample --instance two", "--log-level", "/etc/fastable/sample.yaml", "--print-config",
        ] {
            #expect(text.contains(word), "\(word)")
        }
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 100 }, "\(text)")
        #expect(try printed(["-h", "--version"]) == text)
        #expect(try printed(["--version", "--instance", "x"]) == "fastable-sample \(Version.text)\n")
    }
}
