"""Labeling configs: what is read from them, and what is said about bad ones."""

from __future__ import annotations

import time

import pytest

from regiontext.errors import ConfigError
from regiontext.labelstudio.config import RelationLabel, parse_config
from tests.regiontext.labelstudio.payloads import CONFIG, load

HEAD = '<Image name="img" value="$image"/>'
RECT = '<RectangleLabels name="rect" toName="img"><Label value="Car"/></RectangleLabels>'
CAPTION = '<TextArea name="caption" toName="img" perRegion="true"/>'


def view(*parts: str) -> str:
    return "<View>" + "".join(parts) + "</View>"


def test_a_whole_config():
    config = parse_config(CONFIG)
    assert (config.image_name, config.image_key, config.multi) == ("img", "image", False)
    assert [(s.name, s.tag, s.type, s.labels, s.smart) for s in config.shapes] == [
        ("rect", "RectangleLabels", "rectanglelabels", ("Car", "Person"), True),
        ("ell", "EllipseLabels", "ellipselabels", ("Tree",), False),
    ]
    caption, quality, tags, stars = config.fields
    assert (caption.name, caption.tag, caption.type) == ("caption", "TextArea", "textarea")
    assert caption.per_region and caption.ask == "What is the object {mark}?"
    assert (quality.tag, quality.options, quality.multiple) == (
        "Choices",
        ("clear", "occluded"),
        False,
    )
    assert tags.multiple
    assert [field.name for field in config.image_fields] == ["relcaption", "prompt"]
    assert config.relations == (
        RelationLabel("next to"),
        RelationLabel("holds", ("Person", "Car"), ("Tree",)),
    )
    assert (stars.tag, stars.options) == ("Rating", ("1", "2", "3", "4", "5"))
    assert config.unsupported == ()
    assert config.prompt_field is config.field("prompt")
    assert config.relation_field is config.field("relcaption")
    assert config.shape("ell") is config.shapes[1]
    assert config.field("rect") is None and config.shape("caption") is None
    assert config.xml == CONFIG


def test_the_config_of_a_recorded_request():
    config = parse_config(
        load("request_predict_interactive_with_draft.json")["body"]["label_config"]
    )
    assert [shape.type for shape in config.shapes] == [
        "rectanglelabels",
        "ellipselabels",
        "polygonlabels",
        "brushlabels",
        "keypointlabels",
        "bitmasklabels",
        "vectorlabels",
    ]
    assert [field.name for field in config.fields] == ["caption", "quality"]
    assert config.prompt_field is not None and config.prompt_field.smart
    assert config.relation_field is not None and not config.relation_field.smart


@pytest.mark.parametrize(
    "tag",
    ["Rectangle", "Ellipse", "Polygon", "Brush", "Bitmask", "KeyPoint", "Vector", "MagicWand"],
)
def test_shapes_without_labels(tag):
    labels = '<Labels name="label" toName="img"><Label value="Car"/></Labels>'
    config = parse_config(view(HEAD, labels, f'<{tag} name="s" toName="img"/>', CAPTION))
    assert [(s.tag, s.type, s.labels) for s in config.shapes] == [(tag, tag.lower(), ())]
    assert ("label", "labels", ("Car",)) in [(c.name, c.type, c.labels) for c in config.controls]


def test_aliases_replace_values():
    labels = '<Label value="Auto" alias="car"/><Label value="Bus"/>'
    options = '<Choice value="Rot" alias="red"/><Choice value="blau"/>'
    rect = f'<RectangleLabels name="r" toName="img">{labels}</RectangleLabels>'
    choices = f'<Choices name="c" toName="img" perRegion="true">{options}</Choices>'
    config = parse_config(view(HEAD, rect, choices))
    assert config.shapes[0].labels == ("car", "Bus")
    assert config.fields[0].options == ("red", "blau")


def test_names_of_tags_and_attributes_in_any_case():
    config = parse_config(
        '<view><image NAME="img" Value="$photo"/><rectangleLABELS name="r" TOname="img" SMART="True">'
        '<label value="Car"/></rectangleLABELS><textarea name="t" toname="img" perregion="TRUE" Ask="Why?"/></view>'
    )
    assert config.image_key == "photo"
    assert config.shapes[0].tag == "RectangleLabels" and config.shapes[0].smart
    assert config.fields[0].tag == "TextArea" and config.fields[0].ask == "Why?"


def test_several_images_per_task():
    config = parse_config(view('<Image name="img" valueList="$pages"/>', RECT, CAPTION))
    assert (config.image_key, config.multi) == ("pages", True)


def test_of_several_images_the_one_drawn_on_counts():
    other = '<Image name="other" value="$context"/><TextArea name="note" toName="other" perRegion="true"/>'
    config = parse_config(view(other, HEAD, RECT, CAPTION))
    assert config.image_name == "img"
    assert [field.name for field in config.fields] == ["caption"]


def test_smart_is_the_default_of_fields_and_not_of_shapes():
    config = parse_config(
        view(HEAD, RECT, CAPTION, '<TextArea name="off" toName="img" smart="false"/>')
    )
    assert config.fields[0].smart and not config.shapes[0].smart
    assert not config.image_fields[0].smart


def test_required_and_shown_only_for_some_labels():
    config = parse_config(
        view(
            HEAD,
            RECT,
            '<TextArea name="a" toName="img" perRegion="true" required="true" whenLabelValue="Car, Bus"/>',
            '<View visibleWhen="region-selected" whenLabelValue="Car">',
            '<TextArea name="b" toName="img" perRegion="true"/></View>',
            '<TextArea name="c" toName="img" perRegion="true"/>',
        )
    )
    assert [(field.required, field.for_labels) for field in config.fields] == [
        (True, ("Car", "Bus")),
        (False, ("Car",)),
        (False, ()),
    ]


@pytest.mark.parametrize(
    "tag",
    [
        '<Taxonomy name="x" toName="img" perRegion="true" value="$tree"/>',
        '<Taxonomy name="x" toName="img" perRegion="true" apiUrl="http://x"/>',
        '<DateTime name="x" toName="img" perRegion="true"/>',
        '<Choices name="x" toName="img" perRegion="true" value="$options"/>',
        '<Choices name="x" toName="img" perRegion="true">'
        + "".join(f'<Choice value="{n}"/>' for n in range(201))
        + "</Choices>",
        '<TextArea name="x" toName="img" perRegion="true" perItem="true"/>',
    ],
)
def test_what_cannot_be_filled_is_listed(tag):
    config = parse_config(view(HEAD, RECT, CAPTION, tag))
    assert [field.name for field in config.fields] == ["caption"]
    assert len(config.unsupported) == 1 and 'name="x"' in config.unsupported[0]


def test_a_prompt_is_a_smart_whole_image_text_called_so():
    def prompt(attributes: str):
        return parse_config(
            view(HEAD, RECT, CAPTION, f'<TextArea toName="img" {attributes}/>')
        ).prompt_field

    assert (
        prompt('name="my_prompt"')
        and prompt('name="Ask"')
        and prompt('name="ask-model" smart="true"')
    )
    assert not prompt('name="prompt" smart="false"')
    assert not prompt('name="prompt" perRegion="true"')
    assert not prompt('name="task"') and not prompt('name="mask_note"')


@pytest.mark.parametrize("name", ["relations", "Relation_text", "relcaption"])
def test_a_relation_field_alone_is_enough_to_fill(name):
    config = parse_config(view(HEAD, RECT, f'<TextArea name="{name}" toName="img" smart="false"/>'))
    assert config.fields == () and config.relation_field is not None


def test_relations_alone_are_enough_to_fill():
    config = parse_config(view(HEAD, RECT, '<Relations><Relation value="on"/></Relations>'))
    assert config.relations == (RelationLabel("on"),) and config.has_relations


def test_the_hash_ignores_what_does_not_matter():
    loose = CONFIG.replace("><", ">\n\t <").replace("<View>", "<View>\n<!-- a note -->", 1)
    swapped = CONFIG.replace('name="img" value="$image"', "value='$image'   name='img'")
    assert parse_config(loose).hash == parse_config(swapped).hash == parse_config(CONFIG).hash
    assert len(parse_config(CONFIG).hash) == 64


@pytest.mark.parametrize(
    ("old", "new"),
    [("clear", "clean"), ("{mark}", "{mark} now"), ('value="holds"', 'value="hold"')],
)
def test_the_hash_sees_what_matters(old, new):
    assert parse_config(CONFIG.replace(old, new)).hash != parse_config(CONFIG).hash


def test_equal_configs_are_equal():
    assert parse_config(CONFIG) == parse_config(CONFIG)
    assert hash(parse_config(CONFIG)) == hash(parse_config(CONFIG))


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (None, "empty"),
        ("<View>", "well-formed"),
        ("not xml", "well-formed"),
        (view(RECT, CAPTION), "<Image> tag"),
        (view('<Text name="img" value="$image"/>', RECT, CAPTION), "<Image> tag"),
        (view(HEAD, CAPTION), "draw regions on the image 'img'"),
        (view(HEAD, RECT), "no field"),
        (view(HEAD, RECT, '<TextArea name="prompt" toName="img"/>'), "no field"),
        (view(HEAD, RECT, '<DateTime name="when" toName="img" perRegion="true"/>'), "when"),
        (view('<Image name="img" value="http://x/a.png"/>', RECT, CAPTION), r"value=\"\$image\""),
        (view('<Image name="img"/>', RECT, CAPTION), r"value=\"\$image\""),
        (view(HEAD, RECT, CAPTION, CAPTION), "'caption'"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + view(HEAD, RECT, CAPTION), "DOCTYPE"),
        ('<!doctype View SYSTEM "file:///etc/passwd">' + view(HEAD, RECT, CAPTION), "DOCTYPE"),
        (view(HEAD, RECT, CAPTION, "&undefined;"), "well-formed"),
        ("<a>" * 300 + "</a>" * 300, "deep"),
        ("<View>" + " " * 2_000_001 + "</View>", "characters"),
    ],
)
def test_a_bad_config_is_said_with_its_remedy(xml, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parse_config(xml)
    assert len(str(caught.value)) < 400


def test_entities_never_expand():
    laughs = (
        "<!DOCTYPE l ["
        + '<!ENTITY a "ha">'
        + "".join(f'<!ENTITY {chr(98 + i)} "{("&" + chr(97 + i) + ";") * 10}">' for i in range(9))
        + "]><View>&j;</View>"
    )
    start = time.perf_counter()
    with pytest.raises(ConfigError, match="ENTITY"):
        parse_config(laughs)
    assert time.perf_counter() - start < 1


def test_a_long_config_is_read_in_little_time():
    many = "".join(f'<TextArea name="t{i}" toName="img" perRegion="true"/>' for i in range(5000))
    start = time.perf_counter()
    assert len(parse_config(view(HEAD, RECT, many)).fields) == 5000
    assert time.perf_counter() - start < 5
