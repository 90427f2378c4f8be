import FastableCore
import TestSupport
import Testing

@Suite struct ExecSecretsTests {
    @Test func valuesAreSeenNowhere() {
        let secrets = ExecSecrets(["TOKEN": "hunter2-hunter2", "SHORT": "hunter2-"])
        var command = ExecCommand(arguments: ["true"])
        command.secrets = secrets
        for text in ["\(secrets)", String(reflecting: secrets), "\(command)", String(reflecting: command)] {
            #expect(!text.contains("hunter2"), "\(text)")
        }
        #expect("\(secrets)".contains("TOKEN"))
        let line = "curl -H 'T: hunter2-hunter2' hunter2-é hunter2"
        #expect(secrets.masking(line) == "curl -H 'T: ***************' ********é hunter2")
        #expect(secrets.masking("") == "" && ExecSecrets(["A": ""]).masking("a") == "a")
    }

    @Test func whatCannotBeMaskedIsRefused() {
        let short = expectFailure(.unprocessable, "secretEnv.A", "8 bytes") {
            try ExecSecrets(["A": "1234567"]).validate(field: "secretEnv")
        }
        #expect(short?.details["field"] == "secretEnv.A")
        expectFailure(.tooLarge, "4096") {
            try ExecSecrets(["A": String(repeating: "a", count: 4097)]).validate(field: "secretEnv")
        }
        expectFailure(.tooLarge, "16384") {
            let values = (0..<5).map { ("A\($0)", String(repeating: "a", count: 4000)) }
            try ExecSecrets(Dictionary(values) { $1 }).validate(field: "secretEnv")
        }
    }
}
