"""What a Shelly measures, as it is read: values, points, profiles, and what it calls broken itself."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from ohmstead.errors import WrongAnswer
from ohmstead.profiles import library
from ohmstead.readings import Quality
from ohmstead.sim.cli import simulate
from ohmstead.sim.shelly import Shelly, ShellyServer
from ohmstead.sources.polling import Dumper
from tests.unit.shelly_rig import NOON, Rig, channel


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_three_phases_are_read_with_signs_and_in_kilowatt_hours(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        (snapshot,) = await reader.read()
        await reader.close()
    values = snapshot.values
    assert (snapshot.device, snapshot.time, snapshot.quality) == ("house", NOON, Quality.GOOD)
    assert (values["power"], values["power_l1"], values["power_l3"]) == (400.0, 300.0, -100.0)
    assert (values["voltage_l2"], values["current_l1"], values["frequency_l3"]) == (230.0, 1.304, 50.0)
    assert (values["energy_import"], values["counter_import"], values["energy_import_l2"]) == (3000.0, 3000.0, 1000.0)
    assert values["energy_export"] == 0.0
    assert "current_neutral" not in values, "there is no clamp on the neutral: unknown, not 0"
    assert "current_neutral" not in rig.points
    assert (values["serial_no"], values["firmware_version"], values["model_code"]) == ("AABBCCDDEEFF", "1.4.4", "SPEM-003CEBEU")
    (member,) = rig.members
    assert (member.device, member.name, member.serial, member.period_s) == ("house", "Shelly 3EM", "AABBCCDDEEFF", 10.0)
    assert member.profile.model == "Pro3EM"
    assert rig.shelly.calls == ["Shelly.GetDeviceInfo", "Shelly.GetStatus"]


async def test_what_it_says_can_be_shown_to_whoever_helps(rig: Rig) -> None:
    async with ShellyServer(rig.shelly, password="secret") as server:
        reader = rig.reader(channel(server, "secret"))
        assert isinstance(reader, Dumper)
        assert await reader.dump() == {"info": rig.shelly.info(), "status": rig.shelly.status()}
        await reader.close()


async def test_who_it_is_is_asked_once_and_after_a_restart(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.now += 10
        await reader.read()
        assert rig.shelly.calls.count("Shelly.GetDeviceInfo") == 1
        rig.now += 10
        rig.shelly.restart()
        rig.shelly.version = "1.5.0"
        assert (await rig.poll(reader))["firmware_version"] == "1.5.0"
        assert rig.shelly.calls.count("Shelly.GetDeviceInfo") == 2
        await reader.close()


async def test_who_it_is_after_a_restart_is_asked_until_it_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        rig.now += 10
        await reader.read()
        rig.shelly.restart()
        rig.shelly.version = "1.5.0"
        with monkeypatch.context() as busy:
            busy.setattr(rig.shelly, "info", lambda: {"gen": 2})
            for _ in range(2):
                with pytest.raises(WrongAnswer):
                    await reader.read()
        assert (await rig.poll(reader))["firmware_version"] == "1.5.0"
        await reader.close()


async def test_another_device_in_its_place_has_its_own_points_only(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        rig.shelly.said["em:0", "n_current"] = 0.2
        assert "current_neutral" in await rig.poll(reader)
        rig.shelly.mac = "112233445566"
        del rig.shelly.said["em:0", "n_current"]
        rig.shelly.said["temperature:0", "tC"] = None
        (snapshot,) = await reader.read()
        await reader.close()
    assert rig.members[-1].serial == "112233445566"
    assert snapshot.quality is Quality.GOOD, "what the former one had does not lack"
    assert snapshot.values["serial_no"] == "112233445566"


async def test_channels_of_their_own_and_only_those_that_are_there(rig: Rig) -> None:
    rig.shelly = Shelly("monophase", watts=lambda _: (500.0, -2000.0), clock=lambda: rig.now)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        values = await rig.poll(reader)
        await reader.close()
    assert (values["power_1"], values["power_2"]) == (500.0, -2000.0)
    assert rig.members[-1].profile.id == "shelly-em1"
    assert "energy_import_2" in rig.points
    assert not {"power_3", "temperature"} & rig.points


async def test_a_switch_with_a_meter(rig: Rig) -> None:
    rig.shelly = Shelly("switch", clock=lambda: rig.now)
    rig.shelly.counts(1234.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        values = await rig.poll(reader)
        rig.shelly.said["switch:0", "output"] = False
        assert (await rig.poll(reader))["output_1"] == "off"
        await reader.close()
    assert (values["power_1"], values["output_1"], values["energy_1"]) == (60.0, "on", 1.234)
    assert rig.members[-1].profile.id == "shelly-pm1"
    assert not {"power_2", "counter_returned_1"} & rig.points


async def test_one_that_is_switched_to_another_profile_is_made_known_anew(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.kind = "monophase"
        (snapshot,) = await reader.read()
        await reader.close()
    assert [member.profile.id for member in rig.members] == ["shelly-em", "shelly-em1"]
    assert snapshot.values["power_3"] == -100.0
    assert snapshot.quality is Quality.GOOD
    assert "power_l3" not in snapshot.values


async def test_what_it_says_later_joins_its_points(rig: Rig) -> None:
    rig.shelly = Shelly("monophase", watts=lambda _: (500.0,), clock=lambda: rig.now)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        assert "temperature" not in rig.points
        rig.shelly.said["temperature:0", "tC"] = 40.0
        assert (await rig.poll(reader))["temperature"] == 40.0
        assert "temperature" in rig.points
        await reader.close()


async def test_what_it_no_longer_says_is_gone_and_not_what_it_was(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        (snapshot,) = await reader.read()
        assert not snapshot.gone
        rig.shelly.said["em:0", "a_errors"] = ["power_meter_failure"]
        rig.shelly.said["temperature:0", "tC"] = None
        (snapshot,) = await reader.read()
        assert {"power_l1", "voltage_l1", "power", "temperature"} <= set(snapshot.gone)
        assert not set(snapshot.gone) & {"power_l2", "energy_import", *snapshot.values}
        (again,) = await rig.reader(channel(server)).read()
        assert again.gone == snapshot.gone, "also where only the broker knows it, from before a restart"
        await reader.close()


async def test_words_that_no_point_is_about_change_nothing(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        kept = rig.memory.writes
        rig.shelly.said["script:1", "mem_used"] = 1234
        rig.shelly.said["em:0", "user_notes"] = 7
        await reader.read()
        assert (len(rig.members), rig.memory.writes) == (1, kept)
        await reader.close()


async def test_what_its_own_meter_calls_broken_is_absent_and_the_rest_stays(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.said["em:0", "b_errors"] = ["power_meter_failure"]
        rig.shelly.said["em:0", "c_errors"] = ["out_of_range:voltage"]
        (snapshot,) = await reader.read()
        await reader.close()
    assert snapshot.quality is Quality.PARTIAL
    assert {"power_l1", "power_l3", "current_l3", "energy_import"} <= snapshot.values.keys()
    assert not {"power", "power_l2", "voltage_l2", "voltage_l3"} & snapshot.values.keys()


@pytest.mark.parametrize("nonsense", [None, "n/a", True, 1e300, float("nan"), float("inf"), -1e9, [1], {"a": 1}])
async def test_what_is_no_plausible_number_is_absent(rig: Rig, nonsense: object) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.said["em:0", "total_act_power"] = nonsense
        rig.shelly.said["emdata:0", "total_act"] = nonsense
        (snapshot,) = await reader.read()
        await reader.close()
    assert not {"power", "energy_import"} & snapshot.values.keys()
    assert snapshot.values["power_l1"] == 300.0
    assert snapshot.quality is Quality.PARTIAL


async def test_after_a_restart_its_points_are_there_before_it_answers(rig: Rig) -> None:
    rig.shelly = Shelly("monophase", watts=lambda _: (500.0, 300.0), clock=lambda: rig.now)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        await reader.close()
        assert len(rig.members) == 1
        again = rig.reader(channel(server))
        assert rig.members[1:] == rig.members[:1]
        assert (await rig.poll(again))["power_2"] == 300.0
        assert len(rig.members) == 2, "it is what it was"
        await again.close()


@pytest.mark.parametrize(
    "kept", ["", "[]", "{}", '{"kind":"shelly-x","known":[],"info":{"mac":"A"}}', '{"kind":"shelly-em","known":[],"info":{}}']
)
async def test_what_is_kept_of_it_and_unreadable_is_asked_again(rig: Rig, kept: str) -> None:
    rig.memory["shelly/house/model"] = kept
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        assert rig.members == []
        assert (await rig.poll(reader))["power"] == 400.0
        await reader.close()


def test_the_profiles_say_what_positive_means() -> None:
    for name, sign in (("shelly-em", "import positive"), ("shelly-em1", "import positive"), ("shelly-pm1", "consumption positive")):
        powers = [point for point in library.load(name).points.values() if point.unit == "W"]
        assert powers
        assert {point.sign for point in powers} == {sign}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nobody would see it"),
        (("--port", "0", "--unkind", "rude"), "known are silent, html"),
        (("--port", "0", "--unkind", "cut=x"), "cut=BYTES"),
        (("--broker", "http://nas"), "write it mqtt://host"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(simulate, ["shelly", *arguments])
    assert result.exit_code == 2
    assert says in result.output
