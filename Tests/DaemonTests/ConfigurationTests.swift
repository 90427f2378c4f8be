import FastableCore
import FastableDaemon
import Logging
import TestSupport
import Testing

private typealias Sample = SampleConfiguration

@Suite struct PrecedenceTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func defaults() throws {
        let values = try load()
        #expect(values[Sample.listen].description == "127.0.0.1:7420")
        #expect(values[Sample.certificateFile] == nil)
        #expect(values[Sample.runtime] == .runc)
        #expect(values[Sample.state] == "/var/lib/fastable/default/node")
        #expect(values.source(of: Sample.listen) == .default)
        #expect(try Sample(values).state == "/var/lib/fastable/default/node")
        #expect(LogSettings(values) == LogSettings(level: .info, format: .text))
    }

    @Test func aFlagWinsOverTheEnvironmentAndThatOverTheFile() throws {
        let file = try directory.file("c.yaml", "api:\n  listen: 127.0.0.1:1\nsandbox:\n  slots: 1\n  runtime: crun\n")
        let environment = ["FASTABLE_API_LISTEN": "127.0.0.1:2", "FASTABLE_SANDBOX_SLOTS": "2"]
        let values = try load(["--api-listen", "127.0.0.1:3"], environment: environment, file: file)
        #expect(values[Sample.listen].port == 3)
        #expect(values.source(of: Sample.listen) == .flag("--api-listen"))
        #expect(values[Sample.slots] == 2)
        #expect(values.source(of: Sample.slots) == .environment("FASTABLE_SANDBOX_SLOTS"))
        #expect(values[Sample.runtime] == .crun)
        #expect(values.source(of: Sample.runtime) == .file(file))
    }

    @Test func derivedDefaultsFollowTheOthers() throws {
        #expect(try load(["--instance=two"])[Sample.state] == "/var/lib/fastable/two/node")
        #expect(try load(["--instance=two", "--state-directory=/s"])[Sample.state] == "/s")
    }

    @Test func everyTypeFromEverySource() throws {
        let file = try directory.file(
            "all.yaml",
            """
            # A comment
            instance: three
            api: {certificateFile: /etc/c.pem, allowInsecure: true}
            sandbox:
              memory: 512MiB
              idle: 5m
            labels: [a, "b c"]
            join:
              token: fjt_secret
            log.level: debug
            """)
        let fromFile = try load(file: file)
        #expect(fromFile[Sample.instance] == "three")
        #expect(fromFile[Sample.certificateFile] == "/etc/c.pem")
        #expect(fromFile[Sample.insecure])
        #expect(fromFile[Sample.memory] == 512 << 20)
        #expect(fromFile[Sample.idle] == .seconds(300))
        #expect(fromFile[Sample.labels] == ["a", "b c"])
        #expect(fromFile[Sample.token]?.reveal() == "fjt_secret")
        #expect(LogSettings(fromFile).level == .debug)

        let fromEnvironment = try load(environment: [
            "FASTABLE_API_CERTIFICATE_FILE": "/e.pem", "FASTABLE_API_ALLOW_INSECURE": "true",
            "FASTABLE_SANDBOX_MEMORY": "4096", "FASTABLE_SANDBOX_IDLE": "2h", "FASTABLE_LABELS": "x,y",
            "FASTABLE_JOIN_TOKEN": "t", "FASTABLE_LOG_FORMAT": "json", "FASTABLE_SANDBOX_SLOTS": "",
        ])
        #expect(fromEnvironment[Sample.certificateFile] == "/e.pem")
        #expect(fromEnvironment[Sample.insecure])
        #expect(fromEnvironment[Sample.memory] == 4096)
        #expect(fromEnvironment[Sample.idle] == .seconds(7200))
        #expect(fromEnvironment[Sample.labels] == ["x", "y"])
        #expect(fromEnvironment[Sample.token]?.reveal() == "t")
        #expect(LogSettings(fromEnvironment).format == .json)
        #expect(fromEnvironment.source(of: Sample.slots) == .default)

        let fromFlags = try load([
            "--api-certificate-file=/f.pem", "--api-allow-insecure", "--sandbox-memory", "2GiB", "--sandbox-idle",
            "500ms", "--labels", "p", "--labels=q,r", "--sandbox-idle", "1500ms",
        ])
        #expect(fromFlags[Sample.certificateFile] == "/f.pem")
        #expect(fromFlags[Sample.insecure])
        #expect(fromFlags[Sample.memory] == 2 << 30)
        #expect(fromFlags[Sample.idle] == .milliseconds(1500))
        #expect(fromFlags[Sample.labels] == ["p", "q", "r"])
        #expect(try load(["--api-allow-insecure=false"])[Sample.insecure] == false)
    }

    @Test func jsonIsReadToo() throws {
        let file = try directory.file(
            "c.json",
            "{\n\t\"api\": {\"listen\": \"[::1]:9\", \"allowInsecure\": true},\n\t\"sandbox\": {\"slots\": 7}\n}\n")
        let values = try load(["--config", file])
        #expect(values[Sample.listen].host == "::1")
        #expect(values[Sample.slots] == 7)
        #expect(values[Sample.insecure])
        #expect(try load(environment: ["FASTABLE_CONFIG": file])[Sample.slots] == 7)
    }

    @Test(arguments: ["", "\n\n", "# nothing\n", "---\n", "api:\n", "api:\n  certificateFile:\n", "labels: null\n"])
    func whatSaysNothingChangesNothing(text: String) throws {
        let values = try load(file: try directory.file("empty.yaml", text))
        #expect(values[Sample.certificateFile] == nil)
        #expect(values[Sample.labels] == [])
    }

    @Test func settingsThatContradictNameTheirSource() throws {
        let values = try load(["--api-listen", "0.0.0.0:7420"])
        expectFailure(.invalid, "api.listen", "flag --api-listen", "must be loopback") { _ = try Sample(values) }
        _ = try Sample(try load(["--api-listen", "0.0.0.0:7420", "--api-allow-insecure"]))
    }
}

@Suite struct WrongConfigurationTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test(arguments: [
        ("--api-lisen", "--api-listen"), ("--listen", "--api-listen"), ("--aip-listen", "--api-listen"),
        ("--sandbox_slots", "--sandbox-slots"), ("--print-cofnig", "--print-config"), ("--helpp", "--help"),
    ])
    func unknownFlagsAreNamedWithTheNearest(wrong: String, meant: String) {
        expectFailure(.invalid, "Unknown flag ‘\(wrong)’", "Did you mean ‘\(meant)’?") { _ = try load([wrong, "x"]) }
        expectFailure(.invalid, "‘\(wrong)’", "‘\(meant)’") { _ = try load([wrong + "=x"]) }
    }

    @Test func aFarNameHasNoSuggestion() {
        let error = #expect(throws: FastableError.self) { _ = try load(["--zzzzzzzzzz"]) }
        #expect(error?.message == "Unknown flag ‘--zzzzzzzzzz’. See --help.")
    }

    @Test(arguments: [
        ("apii:\n  listen: x\n", "apii.listen", "api.listen"),
        ("api:\n  listn: x\n", "api.listn", "api.listen"),
        ("listen: 127.0.0.1:1\n", "listen", "api.listen"),
        ("api:\n  certificate_file: /x\n", "api.certificate_file", "api.certificateFile"),
        ("{\"sandbox\": {\"slot\": 1}}", "sandbox.slot", "sandbox.slots"),
        ("log.levle: info\n", "log.levle", "log.level"),
    ])
    func unknownKeysAreNamedWithTheNearest(text: String, key: String, meant: String) throws {
        let file = try directory.file("wrong.yaml", text)
        expectFailure(.invalid, file, "unknown setting ‘\(key)’", "Did you mean ‘\(meant)’?") {
            _ = try load(file: file)
        }
    }

    @Test func unusableFilesAreNamed() throws {
        let section = try directory.file("section.yaml", "api: 5\n")
        expectFailure(.invalid, "‘api’", "section", "api.listen") { _ = try load(file: section) }
        let twice = try directory.file("twice.yaml", "api.listen: 127.0.0.1:1\napi:\n  listen: 127.0.0.1:2\n")
        expectFailure(.invalid, "‘api.listen’ twice") { _ = try load(file: twice) }
        let same = try directory.file("same.yaml", "instance: a\ninstance: b\n")
        expectFailure(.invalid, same) { _ = try load(file: same) }
        let list = try directory.file("list.yaml", "- a\n- b\n")
        expectFailure(.invalid, list, "not valid YAML") { _ = try load(file: list) }
        expectFailure(.notFound, "/nonexistent/x.yaml") { _ = try load(["--config", "/nonexistent/x.yaml"]) }
        expectFailure(.conflict, "regular file") { _ = try load(["--config", directory.path]) }
        let large = try directory.file("large.yaml", String(repeating: "#\n", count: 600_000))
        expectFailure(.tooLarge, "large.yaml") { _ = try load(file: large) }
    }

    @Test func aBrokenFileDoesNotShowItsSecrets() throws {
        let file = try directory.file("broken.yaml", "join:\n  token: \"fjt_verysecret\n")
        let error = #expect(throws: FastableError.self) { _ = try load(file: file) }
        #expect(error?.message.contains("not valid YAML or JSON") == true)
        #expect(error?.description.contains("verysecret") == false)
    }

    @Test(arguments: [
        ("--api-listen", "nowhere", "an address such as"), ("--sandbox-slots", "0", "from 1 to 1000"),
        ("--sandbox-slots", "many", "a whole number"), ("--sandbox-runtime", "docker", "one of runc, crun, runsc"),
        ("--sandbox-memory", "1TB", "an amount of bytes"), ("--sandbox-memory", "99999999999GiB", "bytes"),
        ("--sandbox-idle", "5", "such as 500ms"), ("--sandbox-idle", "-5s", "a time from 1s to 1d"),
        ("--state-directory", "relative/path", "an absolute path"), ("--instance", "Has Space", "lower-case letters"),
        ("--instance", "1st", "beginning with a letter"), ("--log-level", "loud", "one of trace, debug, info"),
    ])
    func wrongValuesNameTheSettingAndWhatIsExpected(flag: String, value: String, expected: String) {
        expectFailure(.invalid, "flag \(flag)", expected, "not ‘\(value)’") { _ = try load([flag, value]) }
    }

    @Test func wrongValuesInOtherSourcesNameThem() throws {
        let file = try directory.file("v.yaml", "sandbox:\n  slots: true\n")
        expectFailure(.invalid, "sandbox.slots", "file \(file)", "not ‘true’") { _ = try load(file: file) }
        let toggle = try directory.file("t.yaml", "api:\n  allowInsecure: perhaps\n")
        expectFailure(.invalid, "api.allowInsecure", "true or false", "not ‘perhaps’") { _ = try load(file: toggle) }
        let list = try directory.file("l.yaml", "labels: a\n")
        expectFailure(.invalid, "labels", "a list of texts") { _ = try load(file: list) }
        let scalar = try directory.file("s.yaml", "instance: [a]\n")
        expectFailure(.invalid, "instance", "lower-case letters") { _ = try load(file: scalar) }
        expectFailure(.invalid, "environment FASTABLE_SANDBOX_SLOTS", "from 1 to 1000") {
            _ = try load(environment: ["FASTABLE_SANDBOX_SLOTS": "1001"])
        }
    }

    @Test func argumentsThatAreNoFlags() {
        expectFailure(.invalid, "Unexpected argument ‘start’") { _ = try load(["start"]) }
        expectFailure(.invalid, "Unexpected argument ‘false’") { _ = try load(["--api-allow-insecure", "false"]) }
        expectFailure(.invalid, "--api-allow-insecure must be true or false") {
            _ = try load(["--api-allow-insecure=maybe"])
        }
        expectFailure(.invalid, "--api-listen needs a value") { _ = try load(["--api-listen"]) }
        expectFailure(.invalid, "--api-listen needs a value") { _ = try load(["--api-listen", "--instance", "x"]) }
        expectFailure(.invalid, "--config needs a value") { _ = try load(["--config"]) }
    }

    @Test func aMissingRequiredSettingNamesAllItsNames() {
        let schema = ConfigurationSchema(
            program: "fastable-x", summary: "",
            groups: [SettingGroup("G", Setting(required: "node.listenerAddress", .address, help: ""))])
        expectFailure(
            .invalid, "--node-listener-address", "FASTABLE_NODE_LISTENER_ADDRESS", "‘node.listenerAddress’"
        ) {
            _ = try ConfigurationLoader(
                schema: schema, arguments: [], environment: [:], defaultFile: "/nonexistent/x"
            ).load()
        }
    }
}
